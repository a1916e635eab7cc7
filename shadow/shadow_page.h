/*
 * The shadow pages: which page of the pool stands for what, and where to find it. Internal to the tables (tables.h).
 *
 * Pages are numbered in the order in which they are taken from the pool; a page given up is never taken again, so a
 * number names one page until everything is recycled, and a stale number is seen by its page not being live.
 *
 * When room runs out (pages or edits), tables_out_of_room() freezes everything: from then on nothing is found, taken
 * or changed, until tables_recycle() starts anew. So no function here has to be undone half-way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shadow/spte.h"
#include "shadow/tables.h"

#define NO_PAGE UINT32_MAX
#define MONITOR_SLOT 256u /* of a root: not the guest's */
#define MAX_ROOTS 32u	  /* 16 pairs */
#define MAX_UNSYNC 64u	  /* guest tables out of sync at a time; the next one is kept in sync by emulation */
#define MAX_KEYS 64u	  /* one guest page: 4 levels x (12 roles in the kernel view + 2 in the user view) */

/* A spte by number: page << 9 | index, plus 1; 0 is none. */
typedef uint32_t spte_id;

/* One spte's place in the list of all that lead where it leads. */
struct spte_link {
	spte_id next, previous;
};

struct shadow_page {
	struct page_key key;
	bool live;
	bool unsync;		/* the guest table is out of sync: writable; so are all pages that stand for it */
	uint8_t stores;		/* guest stores to its guest table in a row, no fault having used it in between */
	uint16_t present;	/* sptes that are */
	uint32_t next;		/* page of the same bucket, or NO_PAGE */
	spte_id parents;	/* list of the sptes that lead here */
	uint64_t last_use;	/* of a root */
	uint64_t pending[TABLE_ENTRIES / 64]; /* bit by spte: an edit of it waits */
};

/* A guest table that the guest may write to through one spte, for one instruction. */
struct loan {
	uint64_t gfn;
	uint32_t page;
	uint16_t index;
};

struct tables {
	struct mem *mem;
	struct tables_pool pool;
	uint64_t monitor_pml4e;

	struct shadow_page *page; /* by number, as all arrays of pages or sptes are */
	uint32_t used;		  /* pages taken so far */
	uint32_t *bucket;	  /* hash of the gfn: first page, or NO_PAGE */
	uint32_t buckets;	  /* a power of two */
	uint16_t *tables_in_large; /* by frame_number() / LARGE_FRAMES: guest tables shadowed in there */

	struct spte_link *link;
	spte_id *small_maps; /* by frame_number(): list of 4 KiB sptes */
	spte_id *large_maps; /* by frame_number() / LARGE_FRAMES: list of 2 MiB sptes */
	uint64_t frames;     /* of RAM */

	struct tables_edit edit[TABLES_MAX_EDITS];
	size_t edits, edits_handed;

	uint32_t root[MAX_ROOTS]; /* pages */
	unsigned int roots;
	uint32_t active[2]; /* by view: the last root given out, or NO_PAGE; it may have been given up since */
	uint64_t clock;	    /* of last_use */

	uint64_t unsync[MAX_UNSYNC]; /* gfns */
	unsigned int unsyncs;

	struct loan loan[TABLES_MAX_LOANS];
	unsigned int loans;

	struct tables_guard guard[TABLES_MAX_GUARDS];
	unsigned int guards;

	uint64_t *accessed; /* table_accessed.h: bit by frame_number(); NULL: nobody wants to know */

	bool must_recycle;
	bool marking; /* our own setting of A and D is under way */
	struct tables_stats stats;
	char complaint[160];
};

/* Reserves the arrays. Returns 0 or a logged -errno. */
int shadow_pages_create(struct tables *t);
void shadow_pages_destroy(struct tables *t);

/* Forgets everything, and zeroes the pages that were used. */
void shadow_pages_reset(struct tables *t);

void tables_out_of_room(struct tables *t);

/* RAM frames counted through, regions without a gap; UINT64_MAX for a gfn that is not RAM. */
uint64_t frame_number(const struct tables *t, uint64_t gfn);

/* The page for a key, or NO_PAGE. */
uint32_t shadow_page_find(const struct tables *t, const struct page_key *k);

/*
 * A fresh page, all entries not present. NO_PAGE if the pool is used up. Its guest table is not write-protected yet.
 */
uint32_t shadow_page_take(struct tables *t, const struct page_key *k);

/* Page n, which no spte leads to and which leads nowhere any more, is out of use from now on. */
void shadow_page_give_up(struct tables *t, uint32_t n);

/* Is the guest page shadowed as a table? */
bool shadow_page_is_table(const struct tables *t, uint64_t gfn);

/* Is it one that is out of sync? */
bool shadow_page_is_unsync(const struct tables *t, uint64_t gfn);

/* Is it one that the guest must not write to unseen? */
bool shadow_page_is_protected(const struct tables *t, uint64_t gfn);

/* Takes note that a guest table is out of sync, at most MAX_UNSYNC at a time, or no longer. */
void shadow_page_set_unsync(struct tables *t, uint64_t gfn, bool unsync);

/* Pages that stand for a guest table: at most MAX_KEYS numbers. Returns how many. */
unsigned int shadow_pages_of(const struct tables *t, uint64_t gfn, uint32_t *numbers);

static inline uint64_t shadow_page_gpa(const struct tables *t, uint32_t n)
{
	return t->pool.gpa + ((uint64_t)n << 12);
}
