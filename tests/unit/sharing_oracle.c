/* The oracle of the benchmark `scavenger`, about memory whose makeup is known. */
#include <stdlib.h>
#include <string.h>

#include "guest/user/memory_pages.h"
#include "tests/bench/sharing_oracle.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define GUESTS 2u
#define PAGES 32u /* of each kind */
#define GROUP 8u
#define MIX_KINDS 6u

static const enum memory_kind mix[MIX_KINDS] = {
	MEMORY_ZERO, MEMORY_DUP, MEMORY_TWIN, MEMORY_SIMILAR, MEMORY_TEXT, MEMORY_UNIQUE,
};

static struct dump make_guest(uint64_t guest)
{
	uint8_t *bytes = malloc(MIX_KINDS * PAGES * PAGE_SIZE);

	for (unsigned int i = 0; i < MIX_KINDS; i++) {
		uint64_t shared_seed = 1000 + i;
		struct memory_area area = {
			.kind = mix[i], .pages = PAGES, .shared_seed = shared_seed, .seed = memory_own_seed(shared_seed, guest),
			.group = GROUP,
		};

		for (uint64_t page = 0; page < PAGES; page++)
			memory_make_page(&area, page, 0, (uint64_t *)(void *)(bytes + (i * PAGES + page) * PAGE_SIZE));
	}
	return (struct dump){bytes, MIX_KINDS * PAGES};
}

START_TEST(test_mix)
{
	struct dump guests[GUESTS] = {make_guest(0), make_guest(1)};
	struct sharing s = sharing_oracle(guests, GUESTS);

	ck_assert_uint_eq(s.pages, GUESTS * MIX_KINDS * PAGES);
	ck_assert_uint_eq(s.zero, GUESTS * PAGES);
	ck_assert_uint_eq(s.same, GUESTS * PAGES - 1 + PAGES);
	/* One of each group is what the others are compared with. */
	ck_assert_uint_eq(s.deltas, GUESTS * PAGES - PAGES / GROUP);
	ck_assert_uint_lt(s.delta_bytes, s.deltas * 200);
	ck_assert_uint_eq(s.alone, GUESTS * PAGES);
	ck_assert_uint_lt(s.alone_bytes, s.alone * PAGE_SIZE / 2);
	ck_assert(sharing_saved_kib(&s, SHARING_ZERO) == 4.0 * GUESTS * PAGES);
	ck_assert(sharing_saved_kib(&s, SHARING_SAME) == 4.0 * (double)(s.zero + s.same));
	ck_assert(sharing_saved_kib(&s, SHARING_DELTA) > 4.0 * (double)(s.zero + s.same) + 3.8 * (double)s.deltas);
	ck_assert(sharing_saved_kib(&s, SHARING_COMPRESS) > sharing_saved_kib(&s, SHARING_DELTA) + 2.0 * (double)s.alone);
	for (unsigned int i = 0; i < GUESTS; i++)
		free((void *)(uintptr_t)guests[i].bytes);
}
END_TEST

/* What its guest has for itself only. */
START_TEST(test_alone)
{
	struct dump guest = make_guest(0);
	struct sharing s = sharing_oracle(&guest, 1);

	ck_assert_uint_eq(s.zero, PAGES);
	ck_assert_uint_eq(s.same, PAGES - 1);
	ck_assert_uint_eq(s.deltas, PAGES - PAGES / GROUP);
	ck_assert_uint_eq(s.alone, PAGES);
	free((void *)(uintptr_t)guest.bytes);
}
END_TEST

START_TEST(test_nothing)
{
	struct sharing s = sharing_oracle(NULL, 0);

	ck_assert_uint_eq(s.pages, 0);
	ck_assert(sharing_saved_kib(&s, SHARING_COMPRESS) == 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_mix, test_alone, test_nothing};

	return RUN_TESTS("sharing_oracle", tests);
}
