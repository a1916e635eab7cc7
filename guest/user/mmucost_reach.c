/*
 * mmucost: references in random order to memory that the TLB reaches, or does not. One line of each 4 KiB is used, at a
 * place that differs from page to page: the caches hold far more pages that way than the TLB does, so that what grows
 * is the cost of translations. With large pages the same lines are used in the same order.
 */
#include "guest/user/mmucost.h"

#include <stddef.h>

#include "guest/lib/random.h"
#include "guest/user/user.h"

#define LINE 64u
#define LINES (PAGE_SIZE / LINE)
#define SEED 1u

struct node {
	struct node *volatile next; /* so that every step is taken */
	uint64_t number;
};

static void *memory(uint64_t pages, bool large)
{
	void *start = large ? (void *)ask(MMUCOST_LARGE, NULL, pages) : grow(pages, true);

	if (start != NULL)
		return start;
	print("out of memory: no %lu pages in large ones\n", pages);
	exit(1);
}

/* The line of a page that is used: all of them are, about equally often. */
static void *line_of(void *start, uint64_t page)
{
	uint64_t hashed = page;

	return (char *)start + page * PAGE_SIZE + random_next(&hashed) % LINES * LINE;
}

/* Below `limit`, which fits into 32 bits. */
static uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return (random_next(state) >> 32) * limit >> 32;
}

/* One cycle through all nodes, in random order (S. Sattolo, An Algorithm to Generate a Random Cyclic Permutation, 1986). */
static struct node *build_cycle(void *start, uint64_t pages)
{
	uint64_t state = SEED;

	for (uint64_t i = 0; i < pages; i++) {
		struct node *node = line_of(start, i);

		*node = (struct node){ node, i };
	}
	for (uint64_t i = pages - 1; i > 0; i--) {
		struct node *last = line_of(start, i);
		struct node *other = line_of(start, random_below(&state, i));
		struct node *next = last->next;

		last->next = other->next;
		other->next = next;
	}
	return line_of(start, 0);
}

static struct node *follow(struct node *node, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		node = node->next;
	return node;
}

/* Once around, seeing every number; `reached` is so many steps from the start. */
static bool cycle_is_right(const struct node *first, uint64_t pages, const struct node *reached, uint64_t steps)
{
	const struct node *node = first;
	uint64_t sum = 0;
	bool right = true;

	for (uint64_t i = 0; i < pages; i++) {
		if (i == steps % pages)
			right &= node == reached;
		sum += node->number;
		node = node->next;
	}
	return right && node == first && sum == pages * (pages - 1) / 2;
}

static bool chase(uint64_t count, uint64_t pages, bool large)
{
	struct node *first = build_cycle(memory(pages, large), pages);
	struct node *reached = follow(first, pages);

	begin_mark();
	reached = follow(reached, count);
	end_mark();
	return cycle_is_right(first, pages, reached, count);
}

static void update_random(void *start, uint64_t pages, uint64_t count)
{
	uint64_t state = SEED;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = random_next(&state);

		*(volatile uint64_t *)line_of(start, (value >> 32) * pages >> 32) ^= value;
	}
}

static uint64_t xor_of(void *start, uint64_t pages)
{
	uint64_t result = 0;

	for (uint64_t i = 0; i < pages; i++)
		result ^= *(volatile uint64_t *)line_of(start, i);
	return result;
}

static uint64_t xor_expected(uint64_t count)
{
	uint64_t state = SEED;
	uint64_t result = 0;

	for (uint64_t i = 0; i < count; i++)
		result ^= random_next(&state);
	return result;
}

/* The same updates again take back what they did, wherever each of them was. */
static bool update(uint64_t count, uint64_t pages, bool large)
{
	void *start = memory(pages, large);
	bool right;

	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)line_of(start, i) = 0;
	begin_mark();
	update_random(start, pages, count);
	end_mark();
	right = xor_of(start, pages) == xor_expected(count);
	update_random(start, pages, count);
	for (uint64_t i = 0; i < pages; i++)
		right &= *(volatile uint64_t *)line_of(start, i) == 0;
	return right;
}

static bool chase_4k(uint64_t count, uint64_t pages)
{
	return chase(count, pages, false);
}

static bool chase_2m(uint64_t count, uint64_t pages)
{
	return chase(count, pages, true);
}

static bool update_4k(uint64_t count, uint64_t pages)
{
	return update(count, pages, false);
}

static bool update_2m(uint64_t count, uint64_t pages)
{
	return update(count, pages, true);
}

const struct user_operation reach_operations[] = {
	{ "chase-4k", chase_4k, true },
	{ "chase-2m", chase_2m, true },
	{ "update-4k", update_4k, true },
	{ "update-2m", update_2m, true },
	{ NULL, NULL, false },
};
