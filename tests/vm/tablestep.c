/*
 * Guests store to page tables in use by instructions that nobody emulates: the bytes are right, and what the tables then
 * say holds. KVM's own shadows (pvm-shadow, kvm-shadow) end or hang such guests in direct mode, so that is tried with
 * nested paging only.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ept/host_mmu.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define USER_OUT "tablestep: 763 checks, 0 wrong\n"
#define KERNEL_OUT "tablestep: 731 checks, 0 wrong\n"
#define STEPS_LEAST 40 /* of the stores; the others find their table given up, or out of sync */

/* One of the shadow's counters in what --stats wrote. */
static long long counter(const char *path, const char *name)
{
	json_error_t error;
	json_t *stats = json_load_file(path, 0, &error), *shadow;
	long long value;

	ck_assert_msg(stats != NULL, "%s: %s", path, error.text);
	shadow = json_object_get(stats, "shadow");
	ck_assert_msg(json_is_integer(json_object_get(shadow, name)), "no %s among the statistics", name);
	value = json_integer_value(json_object_get(shadow, name));
	json_decref(stats);
	return value;
}

static void run(const char *who, const char *out)
{
	char path[] = "/tmp/penumbra-tablestep-XXXXXX", line[160];
	int fd = mkstemp(path);
	struct outcome o;

	ck_assert_int_ge(fd, 0);
	close(fd);
	snprintf(line, sizeof(line), "run --stats %s @tablestep -- %s", path, who);
	o = spawn_line(line, "");
	assert_outcome(&o, 0, out, who);
	ck_assert_str_eq(o.err.data, "");
	if (mmu_is_shadow())
		ck_assert_int_ge(counter(path, "table_steps"), STEPS_LEAST);
	outcome_free(&o);
	unlink(path);
}

static bool can_run(void)
{
	struct host_mmu host = host_mmu_detect("");

	if (mmu_is_shadow() || host.nested)
		return true;
	printf("tablestep: not in direct mode on this host (%s)\n", host.name);
	return false;
}

START_TEST(test_ring3)
{
	if (can_run())
		run("user", USER_OUT);
}
END_TEST

START_TEST(test_ring0)
{
	if (can_run())
		run("kernel", KERNEL_OUT);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_ring3, test_ring0};

	return RUN_TESTS("tablestep", tests);
}
