/* The watchdog's thread: whom it looks at and how often, when it starts, and that it ends. */
#include "vmm/watchdog.h"

#include <check.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/random.h"

#define MS 1000000ull
#define ENTRIES 20u

struct entry {
	struct watchdog_entry e;
	_Atomic unsigned int looks;
	_Atomic int removed;
};

static struct entry entry[ENTRIES];

static void look(struct watchdog_entry *w)
{
	struct entry *e = (struct entry *)w;

	ck_assert_int_eq(atomic_load(&e->removed), 0);
	atomic_fetch_add(&e->looks, 1);
}

static int threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void add(unsigned int n, uint64_t period_ns)
{
	entry[n] = (struct entry){.e = {.look = look, .period_ns = period_ns}};
	ck_assert_int_eq(watchdog_add(&entry[n].e), 0);
}

static void end(unsigned int n)
{
	watchdog_remove(&entry[n].e);
	atomic_store(&entry[n].removed, 1);
}

/* Each by its own period, and never sooner, however short that of another. */
START_TEST(periods)
{
	uint64_t start = watchdog_now(), ms;

	add(0, 200 * MS);
	add(1, 10 * MS);
	add(2, 50 * MS);
	usleep(600000);
	end(0);
	end(1);
	end(2);
	ms = (watchdog_now() - start) / MS;
	ck_assert_uint_ge(entry[0].looks, 1);
	ck_assert_uint_le(entry[0].looks, ms / 200);
	ck_assert_uint_ge(entry[1].looks, 10);
	ck_assert_uint_le(entry[1].looks, ms / 10);
	ck_assert_uint_ge(entry[2].looks, 4);
	ck_assert_uint_le(entry[2].looks, ms / 50);
}
END_TEST

/* A short period that comes later does not wait for the long one before it. */
START_TEST(added_later)
{
	add(0, 10000 * MS);
	usleep(20000);
	add(1, 10 * MS);
	usleep(300000);
	end(0);
	end(1);
	ck_assert_uint_eq(entry[0].looks, 0);
	ck_assert_uint_ge(entry[1].looks, 3);
}
END_TEST

START_TEST(comes_and_goes)
{
	struct random r = random_start("watchdog");
	int before = threads();

	for (int round = 0; round < 200; round++) {
		unsigned int n = 1 + (unsigned int)random_below(&r, ENTRIES);

		for (unsigned int i = 0; i < n; i++)
			add(i, 1 + random_below(&r, MS));
		ck_assert_int_ge(threads(), before + 1);
		ck_assert_int_le(threads(), before + 2); /* one may be about to end */
		if (random_below(&r, 2))
			usleep((useconds_t)random_below(&r, 2000));
		while (n--)
			end(n);
	}
	for (int i = 0; i < 200 && threads() != before; i++)
		usleep(10000);
	ck_assert_int_eq(threads(), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watchdog");
	TCase *tcase = tcase_create("watchdog");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, periods);
	tcase_add_test(tcase, added_later);
	tcase_add_test(tcase, comes_and_goes);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
