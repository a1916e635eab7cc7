/*
 * Pages that several guest pages share: slots of one memfd whose size is sealed, each counted by who needs it. What a slot holds
 * never changes while it is needed; so it can be mapped into guests, compared with, and be what deltas are against. What nobody
 * needs goes back to the host, at the latest when POOL_WAITING slots wait for that: taking a page out of its mappings costs many
 * times what the rest does, so it is done for many at once.
 *
 * Not locked, but pool_page() of a slot that is needed may be read by any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define POOL_NONE UINT32_MAX
#define POOL_WAITING 512u /* pages */

struct pool;

struct pool_stats {
	uint64_t slots;	   /* in use */
	uint64_t needs;	   /* sum of their counts */
	uint64_t metadata; /* bytes beside the pages that have been touched */
};

/* At most so many slots (below 2^29); an empty one costs next to nothing, however many. NULL, and the error is logged. */
struct pool *pool_create(uint64_t slots);

/* Mappings that others have made of it stay, with what is in them. */
void pool_destroy(struct pool *p);

/* The memfd; slot n is at n * PAGE_SIZE. */
int pool_fd(const struct pool *p);

/*
 * Slots for n (above 0) pages, one after the other, filled with a copy of `bytes`, each needed once; `hash` has one for each
 * page. Returns the first slot, or POOL_NONE: no room for so many together, or no memory (then it is logged once). Bytes that
 * cannot be read are no memory either.
 */
uint32_t pool_add(struct pool *p, const void *bytes, unsigned int n, const uint32_t *hash);

/* For ever at the same address, those of consecutive slots one after the other. The slot must be needed. */
const void *pool_page(const struct pool *p, uint32_t slot);
uint32_t pool_hash(const struct pool *p, uint32_t slot);
uint32_t pool_count(const struct pool *p, uint32_t slot); /* of needs; 0 = free */

void pool_need(struct pool *p, uint32_t slot);

/* Returns true when that was the last one: the slot is free, and must not be mapped any more, for it may be filled again. */
bool pool_release(struct pool *p, uint32_t slot);

/* Gives back what waits for it. */
void pool_give_back(struct pool *p);

/*
 * The same in two steps, if it is as many slots as `least`. For the second one nobody needs the lock, but pool_add() must not be called
 * before it is done.
 */
struct pool_waiting {
	unsigned int count;
	uint32_t slot[POOL_WAITING];
};

void pool_take_waiting(struct pool *p, unsigned int least, struct pool_waiting *w);
void pool_give_back_taken(const struct pool *p, struct pool_waiting *w);

void pool_stats(const struct pool *p, struct pool_stats *stats);
