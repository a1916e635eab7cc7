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

/* What is sampled of a page. A block that is all zero says nothing and is 0. */
struct similar_sketch {
	uint32_t block[SIMILAR_BLOCKS];
};

/* For about so many pages, in at most 3 bytes each. NULL, and -ENOMEM is logged. */
struct similar *similar_create(uint64_t pages);
void similar_destroy(struct similar *s);
uint64_t similar_bytes(const struct similar *s);

void similar_sketch(const void *page, struct similar_sketch *k);
void similar_add(struct similar *s, const struct similar_sketch *k, uint32_t id);

/* Forgets id where it stands under this sketch. */
void similar_remove(struct similar *s, const struct similar_sketch *k, uint32_t id);

/* Ids that share blocks with the sketch, those with most blocks first. Returns how many. They may be wrong: the owner looks. */
unsigned int similar_find(const struct similar *s, const struct similar_sketch *k, uint32_t found[SIMILAR_FOUND]);
