/*
 * The bytes of a state file (docs/snapshot-format.md): a header, chunks that name themselves, each with a checksum, and a
 * checksum over all. What is read is hostile until the last check has passed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct reason;
struct snapshot;

#define SNAPSHOT_VERSION 1u

/* Makes the bytes, which are the caller's to free(), and sets sn->checksum. Returns 0 or -errno with the reason. */
int state_file_make(struct snapshot *sn, uint8_t **bytes, size_t *size, struct reason *why);

/* Fills *sn, to be freed with snapshot_free(). Returns 0, or -errno with the reason and nothing to be freed. */
int state_file_parse(struct snapshot *sn, const uint8_t *bytes, size_t size, struct reason *why);
