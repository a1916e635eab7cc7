/*
 * A digest of RAM that is brought up to date instead of being made anew: of each page its own, and of all their sum (ram_digest.h). Only
 * pages that were written are looked at again. Which ones those are differs from mode to mode and from run to run, but not what is in
 * them: so the digest is the same whatever was looked at beside it.
 *
 * vCPU's thread. RAM holds nothing of the MMU backend's (mmu.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/event.h"
#include "vmm/dirty.h"

struct state_digest {
	struct mem *mem;
	struct dirty *dirty;
	uint64_t ram;	   /* the sum */
	uint64_t *page;	   /* by mem_page_number() */
	uint64_t *changed; /* a bit a page: it is another one than the time before */
	uint64_t changes, looked_at; /* pages, the last time */
	bool noting;
	struct dirty_consumer consumer;
	struct dirty_set taken;
};

/* Nothing is done, and nothing noted, until it is taken for the first time: then all of RAM is looked at that may be other than zero. */
void state_digest_init(struct state_digest *d, struct mem *m, struct dirty *dirty);

/* Whether there can be one: RAM of which pages are elsewhere, or a file's, would have to be brought in. */
bool state_digest_can(const struct state_digest *d);

/* Brings it up to date. Returns 0 or a logged -errno: then it can be tried again. */
int state_digest_take(struct state_digest *d);

/* Pages are no longer noted. Before the VM is gone, or not at all. */
void state_digest_end(struct state_digest *d);
void state_digest_free(struct state_digest *d);

/*
 * What became another the last time: a row each page or, where they are more than `most`, which is not 0, each so many. Returns how
 * many rows.
 */
unsigned int state_digest_rows(const struct state_digest *d, struct event_row rows[EVENT_DIGEST_ROWS_MOST], unsigned int most);

/* As the row says: of these pages, which are RAM. */
uint32_t state_digest_sum(const struct state_digest *d, uint64_t page, uint64_t pages);

/* The first page from this one on that became another the last time; UINT64_MAX: none. */
uint64_t state_digest_changed(const struct state_digest *d, uint64_t page);

static inline uint64_t state_digest_pages(const struct state_digest *d)
{
	return d->mem->size >> PAGE_SHIFT;
}
