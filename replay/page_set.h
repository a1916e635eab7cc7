/* Sets of pages of RAM: a bit each, by number (mem.h). A struct of zeros is no set at all, not an empty one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mem;

struct page_set {
	uint64_t *word; /* NULL: not there */
	uint64_t words;
};

/* An empty one. Returns 0 or -ENOMEM (not logged), and it is not there. */
int page_set_init(struct page_set *s, const struct mem *m);
void page_set_free(struct page_set *s);

/* What it takes. */
static inline uint64_t page_set_bytes(const struct page_set *s)
{
	return s->words * sizeof(*s->word);
}

void page_set_clear(struct page_set *s);
void page_set_add(struct page_set *s, uint64_t page);

/* Takes a page out. False: it was not in it. */
bool page_set_take(struct page_set *s, uint64_t page);
bool page_set_has(const struct page_set *s, uint64_t page);

/* Both of the same RAM; all pages of the other, or all pages of the other as well. */
void page_set_copy(struct page_set *to, const struct page_set *from);
void page_set_join(struct page_set *to, const struct page_set *from);

/* Calls `found` for each page, ascending, as long as it returns 0; returns what it did. */
int page_set_each(const struct page_set *s, int (*found)(void *arg, uint64_t page), void *arg);
