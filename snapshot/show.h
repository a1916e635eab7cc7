/*
 * What of a snapshot is printed for people. Its texts come from a file, and may hold anything.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct snapshot;

struct shown {
	char text[512];
};

/* `text`, fit for a terminal and for JSON, in *s. */
const char *show(struct shown *s, const char *text);

/* A time since 1970, in *s. */
const char *show_time(struct shown *s, uint64_t ns);

/* Bytes that its memory file stores: plain pages, or what they were compressed to. */
uint64_t stored_bytes(const struct snapshot *sn);
