/*
 * The kernel's account of mappings: of one whose pages were touched, and of none.
 */
#include "vmm/smaps.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define RAM (4ull << 20)
#define TOUCHED (1ull << 20)

static bool overlaps(const void *mem, uint64_t start, uint64_t end)
{
	return mem_overlaps(mem, start, end);
}

static bool none(const void *arg, uint64_t start, uint64_t end)
{
	return false;
}

START_TEST(test_sums)
{
	struct smaps_field field[] = {{.name = "Rss", .kib = 7}, {.name = "Private_Dirty"}, {.name = "Private"}, {.name = "Size"}};
	struct mem m;

	ck_assert_int_eq(mem_create(&m, RAM, MEM_HUGE_NEVER), 0);
	memset(mem_at(&m, 0, TOUCHED, MEM_WRITE), 1, TOUCHED);
	ck_assert_int_eq(smaps_sum(overlaps, &m, field, 4), 0);
	/* The kernel may have merged it with a neighbour. */
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_uint_ge(field[i].kib, TOUCHED >> 10);
		ck_assert_uint_lt(field[i].kib, 2 * TOUCHED >> 10);
	}
	ck_assert_uint_eq(field[2].kib, 0); /* a name is a whole one */
	ck_assert_uint_ge(field[3].kib, RAM >> 10);
	ck_assert_int_eq(smaps_sum(none, NULL, field, 2), 0);
	ck_assert(field[0].kib == 0 && field[1].kib == 0);
	mem_destroy(&m);
}
END_TEST

START_TEST(test_overlaps)
{
	uint64_t start, end;
	struct mem m;

	ck_assert_int_eq(mem_create(&m, RAM, MEM_HUGE_NEVER), 0);
	start = (uintptr_t)m.region[0].hva;
	end = start + RAM;
	ck_assert(mem_overlaps(&m, start, end) && mem_overlaps(&m, start - 1, start + 1) && mem_overlaps(&m, end - 1, end + 1));
	ck_assert(mem_overlaps(&m, start - PAGE_SIZE, end + PAGE_SIZE) && mem_overlaps(&m, start + 1, start + 2));
	ck_assert(!mem_overlaps(&m, start - PAGE_SIZE, start) && !mem_overlaps(&m, end, end + PAGE_SIZE));
	mem_destroy(&m);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_sums, test_overlaps};

	return RUN_TESTS("smaps", tests);
}
