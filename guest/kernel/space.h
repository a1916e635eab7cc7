/*
 * Address spaces of processes: a page-table root whose slot 0 is the kernel and whose slot 1 is the user half, filled at
 * page faults. The image of the user programs is mapped from where the loader put it, its data copied at the first
 * write; heap and stack come as zeros; fork shares every page, read-only, until someone writes.
 * Entries are made with A set, and D where writable: a page is mapped because it is being used.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct space;

struct space_stats {
	uint64_t faults; /* page faults of ring 3 that were served */
	uint64_t zeroed; /* pages of zeros handed out */
	uint64_t copied; /* pages copied at a write */
};

enum space_verdict {
	SPACE_OK,
	SPACE_BAD_ACCESS, /* nothing there, or not for this kind of access */
	SPACE_NO_MEMORY,
};

/* NULL when memory or the table of spaces is exhausted. The caller owns the one reference. */
struct space *space_create(void);
/* A copy of `from`: copy-on-write. */
struct space *space_fork(struct space *from);
/* The same space once more (for a thread). */
struct space *space_share(struct space *space);
/* Drops a reference; the last one frees all pages and tables. */
void space_put(struct space *space);
/* Makes it the current one; NULL = the kernel alone. */
void space_activate(const struct space *space);

/* Serves a page fault at `gva` with error code `error` (FAULT_*) in the current space. */
enum space_verdict space_fault(struct space *space, uint64_t gva, uint64_t error);
/* Whether ring 3 may touch [gva, gva + size) that way; the kernel then may, too, faulting pages in as it goes. */
bool space_allows(const struct space *space, uint64_t gva, uint64_t size, bool write);
/* Adds `count` pages to the heap, now (`populate`) or at the first touch; returns the gva, 0 when they cannot be had. */
uint64_t space_grow(struct space *space, uint64_t count, bool populate);
/* Takes the last `count` pages off the heap; false, and nothing is done, if it has fewer. Of the current space. */
bool space_shrink(struct space *space, uint64_t count);
/*
 * Appends `count` pages to the heap of the current space that are those from `gva` on, which must be of that heap
 * themselves; returns where, 0 if they are not or there is no memory. Both places stay the same memory until a fork
 * makes them copies.
 */
uint64_t space_alias(struct space *space, uint64_t gva, uint64_t count);
/* Puts `size` bytes at the very top of a stack nobody has used; returns their gva (16-byte aligned), 0 = no memory. */
uint64_t space_push(struct space *space, const void *bytes, uint64_t size);
struct space_stats space_stats(void);
