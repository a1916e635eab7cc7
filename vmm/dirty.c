#include "vmm/dirty.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/slots.h"

#define BITS 64u

static uint64_t region_words(const struct mem_region *r)
{
	return (r->size / PAGE_SIZE + BITS - 1) / BITS;
}

/* Word at which region n's part of a set starts; for n = region_count, words in all. */
static uint64_t first_word(const struct mem *m, unsigned int n)
{
	uint64_t words = 0;

	for (unsigned int i = 0; i < n; i++)
		words += region_words(&m->region[i]);
	return words;
}

static uint64_t set_words(const struct mem *m)
{
	return first_word(m, m->region_count);
}

static void merge(uint64_t *into, const uint64_t *from, uint64_t words)
{
	for (uint64_t i = 0; i < words; i++)
		into[i] |= from[i];
}

static void set_range(uint64_t *words, uint64_t first, uint64_t last)
{
	for (uint64_t page = first; page <= last; page++)
		words[page / BITS] |= 1ull << page % BITS;
}

/* mem.h has checked that the range lies in RAM, but it may span both regions. */
static void on_dirtied(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct dirty *d = (struct dirty *)((char *)l - offsetof(struct dirty, listener));

	if (!d->consumers)
		return;
	for (unsigned int n = 0; n < d->mem->region_count; n++) {
		const struct mem_region *r = &d->mem->region[n];
		uint64_t start = gpa > r->gpa ? gpa : r->gpa;
		uint64_t end = gpa + size < r->gpa + r->size ? gpa + size : r->gpa + r->size;

		if (start >= end)
			continue;
		for (struct dirty_consumer *c = d->consumers; c; c = c->next)
			set_range(c->pending.words + first_word(d->mem, n), (start - r->gpa) / PAGE_SIZE,
				  (end - 1 - r->gpa) / PAGE_SIZE);
	}
}

void dirty_init(struct dirty *d, struct mem *m, struct slots *slots)
{
	*d = (struct dirty){.mem = m, .slots = slots, .listener.dirtied = on_dirtied};
	mem_listen(m, &d->listener);
}

void dirty_destroy(struct dirty *d)
{
	while (d->consumers)
		dirty_end(d, d->consumers);
	mem_unlisten(d->mem, &d->listener);
}

int dirty_set_alloc(const struct dirty *d, struct dirty_set *set)
{
	set->words = calloc(set_words(d->mem), sizeof(uint64_t));
	return set->words ? 0 : log_errno(ENOMEM, "dirty set");
}

void dirty_set_free(struct dirty_set *set)
{
	free(set->words);
	set->words = NULL;
}

/* Invariant 1: what KVM forgets by being asked goes to every consumer. */
static int harvest(struct dirty *d)
{
	int r;

	for (unsigned int n = 0; d->slots && n < d->mem->region_count; n++) {
		r = slots_harvest(d->slots, n, d->scratch);
		if (r < 0)
			return r;
		for (struct dirty_consumer *c = d->consumers; c; c = c->next)
			merge(c->pending.words + first_word(d->mem, n), d->scratch, region_words(&d->mem->region[n]));
	}
	return 0;
}

static int start_logging(struct dirty *d)
{
	struct dirty_set scratch;
	int r = dirty_set_alloc(d, &scratch);

	if (r == 0 && d->slots)
		r = slots_log(d->slots, true);
	if (r < 0) {
		dirty_set_free(&scratch);
		return r;
	}
	d->scratch = scratch.words;
	return 0;
}

int dirty_begin(struct dirty *d, struct dirty_consumer *c)
{
	int r = dirty_set_alloc(d, &c->pending);

	if (r < 0)
		return r;
	/* Stores from before this epoch must not turn up in it. */
	r = d->consumers ? harvest(d) : start_logging(d);
	if (r < 0) {
		dirty_set_free(&c->pending);
		return r;
	}
	c->next = d->consumers;
	d->consumers = c;
	return 0;
}

void dirty_end(struct dirty *d, struct dirty_consumer *c)
{
	struct dirty_consumer **at = &d->consumers;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	dirty_set_free(&c->pending);
	if (d->consumers)
		return;
	free(d->scratch);
	d->scratch = NULL;
	/* A log that stays on costs time, not correctness; the failure is logged. */
	if (d->slots)
		(void)slots_log(d->slots, false);
}

int dirty_take(struct dirty *d, struct dirty_consumer *c, struct dirty_set *set)
{
	size_t bytes = set_words(d->mem) * sizeof(uint64_t);
	int r = harvest(d);

	if (r < 0)
		return r;
	memcpy(set->words, c->pending.words, bytes);
	memset(c->pending.words, 0, bytes);
	return 0;
}

void dirty_give_back(struct dirty *d, struct dirty_consumer *c, const struct dirty_set *set)
{
	merge(c->pending.words, set->words, set_words(d->mem));
}

void dirty_drop(struct dirty *d, struct dirty_consumer *c, uint64_t gpa, uint64_t size)
{
	for (unsigned int n = 0; n < d->mem->region_count; n++) {
		const struct mem_region *r = &d->mem->region[n];
		uint64_t first = (gpa - r->gpa) / PAGE_SIZE;

		if (gpa < r->gpa || gpa - r->gpa >= r->size)
			continue;
		for (uint64_t page = first; page < first + size / PAGE_SIZE; page++)
			c->pending.words[first_word(d->mem, n) + page / BITS] &= ~(1ull << page % BITS);
	}
}

int dirty_settle(struct dirty *d)
{
	return d->consumers ? harvest(d) : 0;
}

const uint64_t *dirty_words(const struct dirty *d, const struct dirty_set *set, unsigned int n)
{
	return set->words + first_word(d->mem, n);
}

static bool is_set(const uint64_t *words, uint64_t page)
{
	return words[page / BITS] >> page % BITS & 1;
}

/* The first page from `page` on that is in the set (or, with !in, is not), or `end`. */
static uint64_t next_page(const uint64_t *words, uint64_t page, uint64_t end, bool in)
{
	while (page < end && is_set(words, page) != in) {
		bool whole = page % BITS == 0 && words[page / BITS] == (in ? 0 : UINT64_MAX);

		page += whole ? BITS : 1;
	}
	return page < end ? page : end;
}

int dirty_walk(const struct dirty *d, const struct dirty_set *set, int (*found)(void *arg, uint64_t gpa, uint64_t size), void *arg)
{
	int r = 0;

	for (unsigned int n = 0; n < d->mem->region_count; n++) {
		const struct mem_region *region = &d->mem->region[n];
		const uint64_t *words = set->words + first_word(d->mem, n), end = region->size / PAGE_SIZE;

		for (uint64_t page = 0, stop; r == 0; page = stop) {
			page = next_page(words, page, end, true);
			if (page == end)
				break;
			stop = next_page(words, page, end, false);
			r = found(arg, region->gpa + page * PAGE_SIZE, (stop - page) * PAGE_SIZE);
		}
	}
	return r;
}

uint64_t dirty_count(const struct dirty *d, const struct dirty_set *set)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < set_words(d->mem); i++)
		count += (unsigned int)__builtin_popcountll(set->words[i]);
	return count;
}
