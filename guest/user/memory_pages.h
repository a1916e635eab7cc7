/*
 * Pages of chosen kinds, the same wherever they are made: by a guest that fills its memory with them and verifies it, and by
 * programs of the host that need the same mix. Needs nothing of either.
 */
#pragma once

#include <stdint.h>

#define MEMORY_PAGE_WORDS 512u /* of 8 bytes */
#define MEMORY_SIMILAR_CHANGES 4 /* words in which a similar page differs from its base */

enum memory_kind {
	MEMORY_ZERO,
	MEMORY_DUP,	/* all the same, in all guests */
	MEMORY_SIMILAR, /* the same as a base, which is the same in all guests, but for a few words */
	MEMORY_UNIQUE,
	MEMORY_HOT,	/* random; rewritten in every round */
	MEMORY_COLD,	/* random; looked at in the last round only */
	MEMORY_TWIN,	/* all different in one guest, each the same as in all other guests */
	MEMORY_TEXT,	/* letters that compress to less than half */
	MEMORY_READ,	/* random; read in every round, never written */
	MEMORY_CHURN,	/* rewritten again and again, as a page of another kind each time */
	MEMORY_KINDS,
};

/* The pages of one kind. */
struct memory_area {
	enum memory_kind kind;
	uint64_t *words;
	uint64_t pages;
	uint64_t shared_seed; /* what all guests have alike comes from this one */
	uint64_t seed;	      /* of this guest */
	uint64_t group;	      /* so many similar pages have a base; 0 = all of them */
};

/* The seed of a guest's own pages. */
uint64_t memory_own_seed(uint64_t shared_seed, uint64_t guest);

/* What page `page` holds in its `version`; only hot pages and churn have more than one. */
void memory_make_page(const struct memory_area *area, uint64_t page, uint64_t version, uint64_t *words);
