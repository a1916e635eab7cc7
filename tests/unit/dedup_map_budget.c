/* The budget of mappings on made-up hosts, on this one, and with many who spend it. */
#include "dedup/map_budget.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/unit/capture.h"
#include "tests/unit/expect.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/open_files.h"
#include "tests/unit/random.h"

static const struct {
	const char *limit, *maps;
	int err;
	uint64_t left;
} hosts[] = {
	{"65530\n", "a\nb\nc\n", 0, 65530 - 16382 - 3},
	{"65530", "", 0, 65530 - 16382},
	{"4\n", "a\n", 0, 2},
	{"4\n", "a\nb\nc\n", 0, 0},
	{"4\n", "a\nb\nc\nd\n", 0, 0},
	{"0\n", "a\n", 0, 0},
	{"18446744073709551615\n", "a\n", 0, UINT64_MAX - UINT64_MAX / 4 - 1},
	{"many\n", "a\n", -EINVAL, 0},
	{"12 \n", "a\n", -EINVAL, 0},
	{NULL, "a\n", -ENOENT, 0},
	{"65530\n", NULL, -ENOENT, 0},
};

START_TEST(made_up_hosts)
{
	for (unsigned int i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
		int files = open_files();
		struct map_budget b;
		struct capture c;
		const char *said;
		struct fake f;

		fake_begin(&f);
		if (hosts[i].limit)
			fake_file(&f, "/proc/sys/vm/max_map_count", hosts[i].limit);
		if (hosts[i].maps)
			fake_file(&f, "/proc/self/maps", hosts[i].maps);
		capture_begin(&c);
		ck_assert_int_eq(map_budget_init(&b, f.root), hosts[i].err);
		said = capture_end(&c);
		expect_eq(map_budget_left(&b), hosts[i].left);
		expect_msg(!*said == !hosts[i].err, "said '%s'", said);
		expect(!map_budget_take(&b, hosts[i].left + 1));
		expect(map_budget_take(&b, hosts[i].left) && !map_budget_take(&b, 1));
		fake_end(&f);
		expect_eq(open_files(), files);
	}
}
END_TEST

/* As many as it says can really be had. */
START_TEST(this_host)
{
	struct map_budget b;
	uint8_t *area;
	uint64_t n;

	ck_assert_int_eq(map_budget_init(&b, ""), 0);
	n = map_budget_left(&b);
	expect(n > 0);
	n = n < 30000 ? n : 30000;
	expect(map_budget_take(&b, n));
	area = mmap(NULL, n * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	for (uint64_t i = 1; i + 1 < n; i += 2)
		expect_msg(!mprotect(area + i * 4096, 4096, PROT_NONE), "no more than %" PRIu64 " of %" PRIu64, i, n);
	munmap(area, n * 4096);
	map_budget_give(&b, n);
	expect_eq(map_budget_left(&b), b.most);
}
END_TEST

static uint64_t left_after_recount(const char *maps, uint64_t taken)
{
	struct map_budget b;
	struct fake f;

	fake_begin(&f);
	fake_file(&f, "/proc/sys/vm/max_map_count", "20\n");
	fake_file(&f, "/proc/self/maps", "a\nb\n");
	ck_assert_int_eq(map_budget_init(&b, f.root), 0);
	ck_assert_uint_eq(b.most, 13);
	expect(map_budget_take(&b, taken));
	fake_file(&f, "/proc/self/maps", maps);
	map_budget_recount(&b, f.root);
	fake_end(&f);
	return map_budget_left(&b);
}

/* What has come back is found; what is used beyond what was taken is not taken twice. */
START_TEST(counted_again)
{
	expect_eq(left_after_recount("a\nb\nc\n", 10), 12);
	expect_eq(left_after_recount("a\nb\n", 10), 13);
	expect_eq(left_after_recount("a\n", 10), 13);
	expect_eq(left_after_recount("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n", 10), 3);
}
END_TEST

START_TEST(our_bug)
{
	struct map_budget b;

	ck_assert_int_eq(map_budget_init(&b, ""), 0);
	map_budget_give(&b, 1);
}
END_TEST

static struct map_budget budget;
static atomic_uint_fast64_t taken;

static void *spend(void *arg)
{
	struct random r = {.state = (uintptr_t)arg};

	for (int i = 0; i < 100000; i++) {
		uint64_t n = random_below(&r, 40);

		if (!map_budget_take(&budget, n))
			continue;
		expect(atomic_fetch_add(&taken, n) + n <= 100);
		atomic_fetch_sub(&taken, n);
		map_budget_give(&budget, n);
	}
	return NULL;
}

START_TEST(many_spend)
{
	static char number[4];
	pthread_t thread[4];

	budget.most = 100;
	atomic_init(&budget.left, 100);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, spend, &number[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	expect_eq(map_budget_left(&budget), 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dedup_map_budget");
	TCase *tcase = tcase_create("dedup_map_budget");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, made_up_hosts);
	tcase_add_test(tcase, this_host);
	tcase_add_test(tcase, counted_again);
	tcase_add_test_raise_signal(tcase, our_bug, SIGABRT);
	tcase_add_test(tcase, many_spend);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
