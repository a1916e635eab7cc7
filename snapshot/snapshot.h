/*
 * A snapshot in this program's memory: all of its state file. The guest's RAM is elsewhere: in a memory file, or in a capture
 * (capture.h) that is about to be written to one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/block_map.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest.h"
#include "snapshot/page_map.h"
#include "vmm/cpu_state.h"

/* Random, of 128 bits: a part of a chain names its parent by it. */
struct snapshot_id {
	uint8_t byte[16];
};

struct snapshot {
	struct snapshot_id id;
	struct checksum128 checksum; /* of the state file, and through it of the others */
	bool incremental;	     /* the rest is its parent's; the next three are of the parent */
	struct snapshot_id parent;
	struct checksum128 parent_checksum;
	char *parent_path; /* where it was; NULL unless incremental */
	struct manifest machine;
	struct cpu_state cpu;
	uint8_t *devices; /* clock, devices and console, by their visitors */
	size_t device_bytes;
	struct page_map pages;
	bool compressed; /* its memory file is: the next one says how */
	struct block_map blocks;
};

struct reason;

/* A new one. Returns 0, or -errno with the reason. */
int snapshot_id_make(struct snapshot_id *id, struct reason *why);

void snapshot_free(struct snapshot *sn);

#define ID_TEXT 33 /* hexadecimal digits and a NUL */
const char *snapshot_id_text(const struct snapshot_id *id, char text[ID_TEXT]);
