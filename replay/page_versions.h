/*
 * What pages of RAM held at several instants: a layer for each instant, with the pages that were written since the one before it, as they
 * were then.
 *
 * Invariants:
 *
 * 1. What a page held at layer n is in the last layer, from n back to the first, that has a version of it; if none has, it was zero.
 * 2. A layer's versions are in order of page, one for each.
 * 3. Where a layer goes, the next one has all of its versions that it has none of its own for. So nothing that a layer before or behind
 *    says changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct page_content;
struct page_store;

struct page_version {
	uint64_t page;
	struct page_content *content; /* a reference */
};

struct page_layer {
	struct page_version *version;
	uint64_t count, room;
};

/* Adds a version of a page behind all that are there. Returns 0 or -ENOMEM (not logged), and nothing is changed. */
int page_layer_add(struct page_layer *l, struct page_store *s, uint64_t page, const void *bytes);
void page_layer_free(struct page_layer *l, struct page_store *s);

/* What the layer says of a page itself, or NULL. */
const struct page_content *page_layer_find(const struct page_layer *l, uint64_t page);

/* Invariant 3: `from`, which was just before `into`, goes. Returns 0 or -ENOMEM (not logged), and nothing is changed. */
int page_layer_fold(struct page_layer *into, struct page_layer *from, struct page_store *s);

/* What it takes, beside the contents. */
static inline uint64_t page_layer_bytes(const struct page_layer *l)
{
	return l->room * sizeof(*l->version);
}
