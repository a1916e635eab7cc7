/* mmucost: operations of ring 3 on memory that is mapped, used for the first time, and unmapped. */
#include "guest/user/mmucost.h"

#include <stddef.h>

#include "guest/user/user.h"

#define TABLE_ENTRIES 512u

static volatile uint64_t *word_of(void *pages, uint64_t page)
{
	return (volatile uint64_t *)((char *)pages + page * PAGE_SIZE);
}

static void write_pages(void *pages, uint64_t count, uint64_t value)
{
	for (uint64_t i = 0; i < count; i++)
		*word_of(pages, i) = value + i;
}

static bool pages_hold(void *pages, uint64_t count, uint64_t value)
{
	for (uint64_t i = 0; i < count; i++) {
		if (*word_of(pages, i) != value + i)
			return false;
	}
	return true;
}

/* Writes to pages that nobody has used at `gva` yet; `seen` is where else their memory shows. */
static bool touch_pages(void *gva, void *seen, uint64_t count)
{
	begin_mark();
	write_pages(gva, count, 1);
	end_mark();
	return pages_hold(seen, count, 1);
}

static bool touch(uint64_t count, uint64_t pages)
{
	char *fresh = grow(count, true);

	return touch_pages(fresh, fresh, count);
}

static bool touch_clear(uint64_t count, uint64_t pages)
{
	char *fresh = grow(count, true);

	ask(MMUCOST_CLEAR, fresh, count);
	return touch_pages(fresh, fresh, count);
}

/* Memory that is in use at one place, and gets entries at another: nothing but those entries is new. */
static char *used(uint64_t count)
{
	char *pages = grow(count, true);

	write_pages(pages, count, 0);
	return pages;
}

static bool touch_alias(uint64_t count, uint64_t pages)
{
	char *first = used(count);

	return touch_pages(alias(first, count), first, count);
}

static bool touch_alias_clear(uint64_t count, uint64_t pages)
{
	char *first = used(count);
	char *second = alias(first, count);

	ask(MMUCOST_CLEAR, second, count);
	return touch_pages(second, first, count);
}

static bool map_once(char *first, uint64_t pages, uint64_t value)
{
	write_pages(alias(first, pages), pages, value);
	return shrink(pages);
}

/* Maps memory that exists, writes to each page of it, unmaps it. */
static bool map(uint64_t count, uint64_t pages)
{
	char *first = used(pages);
	bool right = map_once(first, pages, 0);

	begin_mark();
	for (uint64_t i = 1; i <= count; i++) {
		right &= map_once(first, pages, i);
		right &= *word_of(first, i % pages) == i + i % pages;
	}
	end_mark();
	return right && pages_hold(first, pages, count);
}

static bool map_1(uint64_t count, uint64_t pages)
{
	return map(count, 1);
}

static bool map_32(uint64_t count, uint64_t pages)
{
	return map(count, 32);
}

static bool map_1024(uint64_t count, uint64_t pages)
{
	return map(count, 1024);
}

/* A page fault each, which the kernel answers with a page that is known to be zero. */
static bool demand_zero(uint64_t count, uint64_t pages)
{
	uint64_t before;
	char *fresh;

	if (!ask(MMUCOST_STOCK, NULL, count + count / TABLE_ENTRIES + 8))
		return false;
	write_pages(grow(1, false), 1, 1);
	fresh = grow(count, false);
	before = stats().zeroed;
	if (!touch_pages(fresh, fresh, count))
		return false;
	return stats().zeroed - before == count;
}

const struct user_operation memory_operations[] = {
	{ "touch", touch, false },
	{ "touch-clear", touch_clear, false },
	{ "touch-alias", touch_alias, false },
	{ "touch-alias-clear", touch_alias_clear, false },
	{ "map-1", map_1, false },
	{ "map-32", map_32, false },
	{ "map-1024", map_1024, false },
	{ "demand-zero", demand_zero, false },
	{ NULL, NULL, false },
};
