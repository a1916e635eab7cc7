/*
 * Pages that a guest touches soon after it was restored, so that the next restore brings them in before it asks for them. They
 * are in a small file beside the snapshot's (docs/snapshot-format.md). It is a hint and no more: whatever it says, every page
 * that comes from it is one of RAM, and is read and checked like all others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/snapshot.h"

struct reason;

struct working_set {
	uint64_t ram;	/* bytes, of the guest */
	uint64_t *bits; /* one for each page up to the last one's address */
	uint64_t pages; /* how many are in it */
};

/* An empty one. Returns 0 or -ENOMEM (not logged). */
int working_set_init(struct working_set *w, uint64_t ram);
void working_set_free(struct working_set *w);

/* Adds whole pages of one region of RAM. */
void working_set_add(struct working_set *w, uint64_t gpa, uint64_t pages);

/* The first run of pages at gpa or behind; false: there is none. A run is in one region of RAM. */
bool working_set_next(const struct working_set *w, uint64_t gpa, uint64_t *first, uint64_t *pages);

/*
 * Reads the file in the directory of the snapshot `id`, which is called `path`. Returns 0, -ENOENT if there is none, or -errno
 * with the reason; *w, which was empty, is so again then.
 */
int working_set_read(struct working_set *w, int directory, const char *path, const struct snapshot_id *id, struct reason *why);

/*
 * Writes it, in place of the one there is. Somebody else may be doing the same: then it is left to him. Returns 0, or -errno with
 * the reason and the old one still there.
 */
int working_set_write(struct working_set *w, int directory, const char *path, const struct snapshot_id *id, struct reason *why);
