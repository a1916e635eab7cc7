/*
 * The most that can be saved of some memory, found at leisure: what the scavenger is measured against. It shares with that only
 * how a page is made smaller (dedup/codec.h), not how pages are found: equal ones by sorting all of them and comparing them whole, ones that
 * resemble each other by looking at every block of every page.
 *
 * Zero and equal pages are counted exactly. Which pages are to be references and which deltas is decided one page after the other
 * (the best choice of all is a problem of set cover), so for deltas it is a very good answer rather than a bound.
 */
#pragma once

#include <stdint.h>

/* Memory to look at: of a guest, or of several. */
struct dump {
	const uint8_t *bytes;
	uint64_t pages;
};

struct sharing {
	uint64_t pages; /* looked at */
	uint64_t zero;
	uint64_t same;	    /* pages that are not needed, for another one is the same; zero pages do not count */
	uint64_t deltas;    /* pages that are best kept as what differs from another one */
	uint64_t delta_bytes;
	uint64_t alone;	    /* pages that are best kept compressed */
	uint64_t alone_bytes;
};

/* The stages of the scavenger, each with those before it. */
enum sharing_stage { SHARING_ZERO, SHARING_SAME, SHARING_DELTA, SHARING_COMPRESS, SHARING_STAGES };

/* Maps a file, a guest's RAM as a snapshot has it or other bytes. Ends the program if it cannot. */
struct dump dump_open(const char *path);
void dump_close(struct dump *d);

/* Ends the program where memory runs out. */
struct sharing sharing_oracle(const struct dump *dumps, unsigned int count);

/* What can be saved by this stage and those before it, KiB; nothing is taken off for bookkeeping. */
double sharing_saved_kib(const struct sharing *s, enum sharing_stage stage);
