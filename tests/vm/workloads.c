/*
 * Every workload of a comparison, in both modes, with so few operations that it fits into a test: the guest verifies its own
 * work and ends with 0 only if all of it had its effect.
 */
#include <stdio.h>
#include <stdlib.h>

#include "compare/workload.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define COUNT 21u		/* odd: what happens in pairs is left half done */
#define PAGES_PER_EIGHTH 17u	/* not a whole number of large pages */
#define TOO_MANY "99999999999999999999"

static void check_workload(const struct workload *w, const char *mmu)
{
	unsigned int count = w->count < COUNT ? w->count : COUNT;
	struct outcome o;
	char line[128];
	int n = snprintf(line, sizeof(line), "run --mmu=%s --mem=64M @mmucost -- %s %u", mmu, w->operation, count);

	if (w->reach)
		snprintf(line + n, sizeof(line) - (size_t)n, " %u", w->reach * PAGES_PER_EIGHTH);
	o = spawn_line(line, "");
	assert_outcome(&o, 0, "", line);
	outcome_free(&o);
}

START_TEST(workloads_do_their_work)
{
	for (size_t i = 0; i < workload_count; i++)
		check_workload(&workloads[i], mmu_modes[_i % (int)MMU_MODES]);
}
END_TEST

struct refusal {
	const char *arguments, *usage;
};

#define USAGE "usage: mmucost OPERATION N [PAGES]\n"

static const struct refusal refusals[] = {
	{"", USAGE},
	{"syscall", USAGE},
	{"no-such-operation 1", USAGE},
	{"privileged x", USAGE},
	{"privileged " TOO_MANY, USAGE},
	{"privileged 1 1", USAGE},
	{"syscall 1 1", "usage: mmucost OPERATION N\n"},
	{"syscall -1", USAGE},
	{"chase-4k 1", "usage: mmucost OPERATION N PAGES\n"},
	{"chase-4k 1 0", "usage: mmucost OPERATION N PAGES\n"},
	{"chase-4k 1 1 1", USAGE},
	{"pte-write 513", "usage: mmucost pte-write N, N at most 512\n"},
	{"table-write 129", "usage: mmucost table-write N, N at most 128\n"},
};

START_TEST(bad_arguments_are_refused)
{
	char line[160];

	for (const struct refusal *r = refusals; r < refusals + sizeof(refusals) / sizeof(*refusals); r++) {
		struct outcome o;

		snprintf(line, sizeof(line), "run @mmucost%s%s", *r->arguments ? " -- " : "", r->arguments);
		o = spawn_line(line, "");
		assert_outcome(&o, 2, r->usage, line);
		outcome_free(&o);
	}
}
END_TEST

/* Memory that the guest does not have ends in a line that says so. */
START_TEST(too_little_memory_is_said)
{
	static const char *const operations[] = {"chase-4k", "update-2m"};
	char line[128];

	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		struct outcome o;

		snprintf(line, sizeof(line), "run --mem=16M @mmucost -- %s 1 8192", operations[i]);
		o = spawn_line(line, "");
		ck_assert_msg(o.status == 1, "%s: exit %d", line, o.status);
		ck_assert_msg(strstr(o.out.data, "out of memory: no 8192 pages"), "%s: '%s'", line, o.out.data);
		outcome_free(&o);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("workloads");

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, workloads_do_their_work, 0, MMU_MODES);
	tcase_add_test(tcase, bad_arguments_are_refused);
	tcase_add_test(tcase, too_little_memory_is_said);
	return run_case("workloads", tcase);
}
