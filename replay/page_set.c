#include "replay/page_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/mem.h"

#define BITS 64u

int page_set_init(struct page_set *s, const struct mem *m)
{
	uint64_t words = (m->size / PAGE_SIZE + BITS - 1) / BITS;
	uint64_t *word = calloc(words, sizeof(*word));

	*s = word ? (struct page_set){word, words} : (struct page_set){0};
	return word ? 0 : -ENOMEM;
}

void page_set_free(struct page_set *s)
{
	free(s->word);
	*s = (struct page_set){0};
}

void page_set_clear(struct page_set *s)
{
	memset(s->word, 0, page_set_bytes(s));
}

void page_set_add(struct page_set *s, uint64_t page)
{
	s->word[page / BITS] |= 1ull << page % BITS;
}

bool page_set_take(struct page_set *s, uint64_t page)
{
	bool had = page_set_has(s, page);

	s->word[page / BITS] &= ~(1ull << page % BITS);
	return had;
}

bool page_set_has(const struct page_set *s, uint64_t page)
{
	return s->word[page / BITS] >> page % BITS & 1;
}

void page_set_copy(struct page_set *to, const struct page_set *from)
{
	memcpy(to->word, from->word, page_set_bytes(to));
}

void page_set_join(struct page_set *to, const struct page_set *from)
{
	for (uint64_t i = 0; i < to->words; i++)
		to->word[i] |= from->word[i];
}

int page_set_each(const struct page_set *s, int (*found)(void *arg, uint64_t page), void *arg)
{
	int err = 0;

	for (uint64_t i = 0; i < s->words && err == 0; i++) {
		for (uint64_t left = s->word[i]; left && err == 0; left &= left - 1)
			err = found(arg, i * BITS + (uint64_t)__builtin_ctzll(left));
	}
	return err;
}
