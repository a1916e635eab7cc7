/*
 * Where in a log a guest was saved: the place behind which its events are what came to it after that.
 */
#pragma once

#include <stdint.h>

#include "replay/event.h"

struct reason;

struct mark_place {
	uint64_t events; /* up to the mark, with it */
	uint64_t position;
	uint64_t digest; /* of the accesses before (access_check.h) */
	uint64_t use;	 /* events behind it that can be used: what was half written at the end cannot */
	uint64_t ends;	 /* position of the last one of these */
	uint64_t unused; /* bytes at the end of the log that are no whole block */
};

/*
 * Reads all of the log, and finds the place where the snapshot `id` was taken, or the one that it is a copy of, or the log's beginning if it
 * begins with that one. Returns 1, or 0: it is in none of these, or -errno with the reason.
 */
int mark_find(int fd, const char *name, const uint8_t id[EVENT_ID_BYTES], struct mark_place *p, struct reason *why);
