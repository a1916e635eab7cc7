/*
 * A guest in the scavenger's care: what it knows of each of its pages, which of them were written lately, and which come next.
 *
 * Threads: the scavenging thread works on a ward; its guest's serving thread brings cold pages back (cold_ram.h), and its vCPU's
 * thread hands over which pages were written. Records and counts are under the group's lock.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dedup/group.h"
#include "dedup/pace.h"
#include "vmm/dirty.h"
#include "vmm/loaded.h"
#include "vmm/pager.h"
#include "vmm/userfault_exchange.h"
#include "vmm/vcpu.h"

struct vm;

/* An age has the epochs since the page was written, and how often it was brought back, which makes it wait longer the next time. */
#define AGE_MOST 31u
#define AGE_BITS 5u
#define AGE_LEVEL_MOST 7u
#define AGE_COLD 2u /* epochs that a page has to be idle before it may go cold */

enum ward_state {
	WARD_NEW,     /* its guest's RAM is as it was */
	WARD_OPEN,
	WARD_REFUSED, /* this RAM cannot be exchanged: it was said why */
	WARD_ENDED,   /* its guest has ended */
};

/* Which pages are to be looked at, one bit each. */
struct ward_queue {
	uint64_t *pages;
	uint64_t cursor; /* page to go on from */
};

struct ward_counts {
	uint64_t kind[PAGE_KINDS]; /* pages */
	uint64_t stored;	   /* bytes of its objects */
	uint64_t scanned, evicted, broken, busy, mappings;
	uint64_t reported; /* pages that became zero because the guest has freed them */
	uint64_t refaults, brought[PAGE_KINDS]; /* pages that came back because somebody touched them; all that came back, by what they were */
};

struct ward {
	struct vm *vm;
	struct group *group;
	uint64_t pages;
	uint32_t base; /* of its pages' ids */
	enum ward_state state;
	bool gone; /* the VM is being destroyed: its RAM must not be touched any more */

	page_record *record;
	uint8_t *age;
	struct ward_counts counts;

	struct dirty_consumer consumer;
	struct mem_listener hints; /* hint.h */
	struct loaded_extent loaded[LOADED_EXTENTS]; /* what the image has brought and hint.h has not given out */
	struct dirty_set written;
	uint64_t *used; /* one bit a page: the guest used it in the last epoch, where the MMU mode can tell */
	struct vcpu_work work;
	_Atomic int answer; /* of the vCPU's thread: 1 = not there yet, 2 = nothing is watched any more */
	bool asked, watched;
	uint64_t epoch_ns; /* when the last epoch began */

	struct vcpu_work stop_work; /* for want of memory (memory_bound.h) */
	_Atomic bool stop_posted, hold_still;
	bool held_still; /* the vCPU's thread: it was paused for that */

	struct ward_queue fresh; /* newly idle */
	struct ward_queue rest;
	struct ward_queue cold;
	struct pace_cold pace;
	uint64_t allowance; /* pages that may still go cold now */

	struct pager pager;
	uint64_t next_fault; /* page behind the last that was brought: where the guest reads on */
	bool reads_on;	     /* it did so at the last fault */
	uint64_t cpu_ns;
	struct ward *next;
};

/* Returns NULL, and the error is logged. `refaults`: a second, that are aimed at. */
struct ward *ward_create(struct vm *vm, struct group *g, unsigned int refaults);

/* The VM is gone, or has never run. */
void ward_destroy(struct ward *w);

/* Under the group's lock: the page becomes that. What its old record needed is released; what the new one needs is needed already. */
void ward_set(struct ward *w, uint64_t page, page_record r);

/* Under the group's lock: nothing comes of a record that was planned; what it needs is released. */
void ward_abandon(struct ward *w, page_record r);

/* Under the group's lock: puts all pages with a hash into the indexes. */
void ward_index_again(struct ward *w);

static inline uint32_t ward_id(const struct ward *w, uint64_t page)
{
	return w->base + (uint32_t)page;
}

static inline unsigned int age_epochs(uint8_t age)
{
	return age & AGE_MOST;
}

static inline unsigned int age_level(uint8_t age)
{
	return age >> AGE_BITS;
}

/* Epochs that this page must be idle before it may go cold. */
unsigned int age_for_cold(uint8_t age);

/* The page was wanted back. */
void ward_refaulted(struct ward *w, uint64_t page);

void ward_enqueue(struct ward_queue *q, uint64_t page);

/* Takes pages out of the queue from this one on, at most `most`, up to the first that is not in it. Returns how many. */
unsigned int ward_take(struct ward_queue *q, uint64_t page, uint64_t most);

/*
 * Takes the next run of pages out of the queue, at most `most`. Returns how many, 0 = the queue is empty. A run stays in one region of RAM.
 */
unsigned int ward_next(const struct ward *w, struct ward_queue *q, unsigned int most, uint64_t *page);

/* Bytes of metadata of this ward alone. */
uint64_t ward_metadata(const struct ward *w);
