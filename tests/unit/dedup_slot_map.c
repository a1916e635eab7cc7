/* Slots against an array of bools in which everything is looked at. */
#include "dedup/slot_map.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"

#define MOST 9000u

static bool taken[MOST];

static bool is_room(uint64_t slots, uint64_t n)
{
	uint64_t run = 0;

	for (uint64_t i = 0; i < slots && run < n; i++)
		run = taken[i] ? 0 : run + 1;
	return run >= n;
}

static uint64_t top_of(uint64_t slots)
{
	while (slots && !taken[slots - 1])
		slots--;
	return slots;
}

static uint64_t lowest_free(uint64_t slots)
{
	uint64_t at = 0;

	while (at < slots && taken[at])
		at++;
	return at;
}

static void take(struct slot_map *m, uint64_t n)
{
	uint64_t lowest = lowest_free(m->slots), first = slot_map_take(m, n);

	if (first == SLOT_MAP_NONE) {
		expect_msg(!is_room(m->slots, n), "there is room for %" PRIu64, n);
		return;
	}
	expect(first + n <= m->slots);
	expect(n > 1 || first == lowest);
	for (uint64_t i = first; i < first + n; i++) {
		expect_msg(!taken[i], "%" PRIu64 " is taken", i);
		taken[i] = true;
	}
}

static void give(struct slot_map *m, struct random *r, uint64_t n)
{
	for (uint64_t at = random_below(r, m->slots); n > 0 && at < m->slots; at++, n--) {
		if (taken[at])
			slot_map_give(m, at);
		taken[at] = false;
	}
}

START_TEST(oracle)
{
	struct random r = random_start("dedup_slot_map");
	static const uint64_t borders[] = {1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, MOST};

	for (int round = 0; round < 60; round++) {
		uint64_t slots = round < 11 ? borders[round] : 1 + random_below(&r, MOST), runs = 1 + random_below(&r, 100);
		/* From nearly empty to nearly full. */
		uint64_t givers = 1 + random_below(&r, 9);
		struct slot_map m;

		memset(taken, 0, sizeof(taken));
		expect_eq(slot_map_init(&m, slots), 0);
		for (int step = 0; step < 2000; step++) {
			if (random_below(&r, 10) >= givers)
				take(&m, random_below(&r, 2) ? 1 : 1 + random_below(&r, runs));
			else
				give(&m, &r, 1 + random_below(&r, runs));
			expect_eq(m.top, top_of(slots));
		}
		slot_map_destroy(&m);
	}
}
END_TEST

START_TEST(all_and_again)
{
	struct slot_map m;

	expect_eq(slot_map_init(&m, 1 << 18), 0);
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < m.slots; i++)
			expect_eq(slot_map_take(&m, 1), i);
		expect_eq(slot_map_take(&m, 1), SLOT_MAP_NONE);
		for (uint64_t i = 0; i < m.slots; i++)
			slot_map_give(&m, round ? m.slots - 1 - i : i);
		expect_eq(m.top, 0);
	}
	expect_eq(slot_map_take(&m, m.slots), 0);
	expect_eq(slot_map_take(&m, 2), SLOT_MAP_NONE);
	slot_map_destroy(&m);
}
END_TEST

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The worst for a search: every other slot is free, and room is wanted for two. */
START_TEST(price)
{
	struct slot_map m;
	double start;

	expect_eq(slot_map_init(&m, (1u << 29) - 1), 0);
	expect_eq(slot_map_bytes(&m), 0);
	expect_eq(slot_map_take(&m, 1 << 20), 0);
	for (uint64_t i = 0; i < 1 << 20; i += 2)
		slot_map_give(&m, i);
	start = cpu_ns();
	for (uint64_t i = 0; i < 10000; i++)
		expect_eq(slot_map_take(&m, 2), (1 << 20) + 2 * i);
	printf("%.0f ns for two of a map full of holes, ", (cpu_ns() - start) / 10000);
	start = cpu_ns();
	for (uint64_t i = 0; i < 1 << 19; i++)
		expect_eq(slot_map_take(&m, 1), 2 * i);
	printf("%.0f ns for one\n", (cpu_ns() - start) / (1 << 19));
	/* Not looked at again until something is given back, when all is full. */
	expect_eq(slot_map_take(&m, m.slots - m.top), (1 << 20) + 20000);
	expect_eq(slot_map_take(&m, 1), SLOT_MAP_NONE);
	start = cpu_ns();
	for (int i = 0; i < 1000; i++)
		expect_eq(slot_map_take(&m, 2), SLOT_MAP_NONE);
	expect(cpu_ns() - start < 1e9);
	slot_map_destroy(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dedup_slot_map");
	TCase *tcase = tcase_create("dedup_slot_map");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, oracle);
	tcase_add_test(tcase, all_and_again);
	tcase_add_test(tcase, price);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
