/*
 * Finds a page that probably resembles a given one: two pages resemble each other if some of a few sampled blocks of them are the
 * same (Difference Engine, OSDI 2008, section 4.2). Bounded: what is new displaces what is old.
 *
 * Names of pages (ids) are the owner's, not 0. Not locked.
 */
#pragma once

#include <stdint.h>

#define SIMILAR_BLOCKS 8u    /* sampled of a page */
#define SIMILAR_FOUND 4u     /* candidates at most */

struct similar;

/* What is sampled of a page. A block that is one word again and again, as of zeros, says nothing and is 0. */
struct similar_sketch {
	uint32_t block[SIMILAR_BLOCKS];
};

/* For about so many pages, in at most 2.5 bytes each (and 200). NULL, and -ENOMEM is logged. */
struct similar *similar_create(uint64_t pages);
void similar_destroy(struct similar *s);
uint64_t similar_bytes(const struct similar *s);

void similar_sketch(const void *page, struct similar_sketch *k);

/*
 * A page stands under two of its blocks, and under two more while there is free room. A fifth of the pages can be in it before any is
 * displaced.
 */
void similar_add(struct similar *s, const struct similar_sketch *k, uint32_t id);

/* Forgets id where it stands under this sketch. */
void similar_remove(struct similar *s, const struct similar_sketch *k, uint32_t id);

/*
 * Ids that stand under blocks of the sketch, those under most first, of those whose bits `mask` are `bits`. Returns how many. They may be
 * wrong: the owner looks.
 */
unsigned int similar_find(const struct similar *s, const struct similar_sketch *k, uint32_t mask, uint32_t bits,
			  uint32_t found[SIMILAR_FOUND]);
