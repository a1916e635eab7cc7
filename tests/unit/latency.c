/* Quantiles of random times against the sorted times themselves. */
#include "vmm/latency.h"

#include <stdlib.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"

#define TIMES 2000u

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

START_TEST(quantiles)
{
	static const double shares[] = {.001, .1, .5, .9, .99, .999, 1};
	struct random r = random_start("latency");

	for (int round = 0; round < 200; round++) {
		unsigned int bits = 1 + (unsigned int)random_below(&r, 39), count = 1 + (unsigned int)random_below(&r, TIMES);
		struct latency l = {0};
		uint64_t times[TIMES];

		for (unsigned int i = 0; i < count; i++)
			latency_add(&l, times[i] = random_below(&r, 1ull << bits));
		qsort(times, count, sizeof(*times), by_size);
		expect_eq(l.count, count);
		expect_eq(l.min_ns, times[0]);
		for (unsigned int i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
			unsigned int n = (unsigned int)(shares[i] * count);
			uint64_t right = times[n * 1. < shares[i] * count ? n : n ? n - 1 : 0], got = latency_quantile(&l, shares[i]);

			expect_msg(got <= right + right / 8 + 1 && got + got / 7 + 1 >= right, "%g of %u: %" PRIu64 " for %" PRIu64,
				   shares[i], count, got, right);
		}
	}
}
END_TEST

START_TEST(borders)
{
	struct latency l = {0};

	expect_eq(latency_quantile(&l, .5), 0);
	latency_add(&l, UINT64_MAX);
	expect_eq(l.min_ns, UINT64_MAX);
	expect_eq(latency_quantile(&l, .5), UINT64_MAX);
	latency_add(&l, 0);
	expect_eq(latency_quantile(&l, .5), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("latency");
	TCase *tcase = tcase_create("latency");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tcase, quantiles);
	tcase_add_test(tcase, borders);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
