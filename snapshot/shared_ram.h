/*
 * RAM of a snapshot that several guests share, copy-on-write: a page that a guest only reads is there once, one that it writes
 * becomes its own. It is in memory that nobody can change any more (a sealed memfd), not in the snapshot's file, which somebody
 * might, unless that is what is asked for.
 */
#pragma once

#include <stdint.h>

struct image_reader;
struct mem;
struct reason;

struct shared_ram {
	int fd; /* offset = gpa */
};

/* Reads and checks all of it, once for all guests. Returns 0 or -errno with the reason. */
int shared_ram_create(struct shared_ram *s, const struct image_reader *r, struct reason *why);

/*
 * The snapshot's own file after all, unread and unchecked, for who knows that nobody writes to it. Returns 0, or -errno with the
 * reason: a part of a chain has not all of RAM in one file, and a compressed file has no pages.
 */
int shared_ram_of_file(struct shared_ram *s, const struct image_reader *r, struct reason *why);
void shared_ram_destroy(struct shared_ram *s);

/* Puts it in place of all RAM of a VM, which is of the same size: one mapping for each region. Returns 0 or a logged -errno. */
int shared_ram_map(const struct shared_ram *s, struct mem *m);
