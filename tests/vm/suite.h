/* The main function of a test executable: runs its tests one by one, each in a process of its own. */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Whether tests get processes of their own: only then may one be meant to end the program. */
static inline bool suite_forks(void)
{
	const char *fork = getenv("CK_FORK");

	return !fork || strcmp(fork, "no");
}

/* Returns main()'s status. */
static inline int run_cases(const char *name, TCase **tcases, size_t count)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	for (size_t i = 0; i < count; i++)
		suite_add_tcase(suite, tcases[i]);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int run_case(const char *name, TCase *tcase)
{
	return run_cases(name, &tcase, 1);
}

/* No limit of Check's own: every child has one, and meson has one for the executable. */
static inline int run_tests(const char *name, const TTest *const *tests, size_t count)
{
	TCase *tcase = tcase_create(name);

	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	tcase_set_timeout(tcase, 0);
	return run_case(name, tcase);
}

/* The same for one test that is run for _i = 0 .. count - 1. */
static inline int run_loop_test(const char *name, const TTest *test, int count)
{
	TCase *tcase = tcase_create(name);

	tcase_add_loop_test(tcase, test, 0, count);
	tcase_set_timeout(tcase, 0);
	return run_case(name, tcase);
}

#define RUN_TESTS(name, tests) run_tests(name, tests, sizeof(tests) / sizeof(*(tests)))
