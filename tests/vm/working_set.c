/*
 * What a guest touches first after a lazy restore is known the next time: then it takes hardly any faults for it. A file about that
 * which is damaged, another snapshot's, or not to be written harms nobody.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/modes.h"
#include "tests/vm/saved_guest.h"
#include "tests/vm/suite.h"

/* Faults that the program answers in one lazy run: pages it brings, and zero pages. */
static json_int_t count_faults(const struct saved *s, const char *mode, json_int_t *prefetched)
{
	char *stats = snapshot_path(&s->place, "stats"), words[200];
	json_t *all, *userfaults;
	json_int_t faults;

	snprintf(words, sizeof(words), "--mmu %s --ram=lazy --stats %s", mode, stats);
	assert_restored(s, words);
	all = json_load_file(stats, 0, NULL);
	userfaults = json_object_get(all, "userfaults");
	faults = number_of(userfaults, "fetched") + number_of(userfaults, "zeroed");
	*prefetched = number_of(userfaults, "prefetched");
	json_decref(all);
	free(stats);
	return faults;
}

static void assert_few(const struct saved *s, const char *mode, json_int_t plain)
{
	json_int_t prefetched, faults = count_faults(s, mode, &prefetched);

	ck_assert_msg(faults * 100 <= plain * 3, "%s: %d faults, after %d", mode, (int)faults, (int)plain);
	ck_assert_int_gt((int)prefetched, 0);
}

START_TEST(test_working_set)
{
	struct saved s = save_guest(SAVED_MEMORY);
	char *set = snapshot_path(&s.place, "s/working-set");

	for (size_t i = 0; i < MMU_MODES; i++) {
		json_int_t prefetched, plain;
		struct stat st;

		unlink(set);
		plain = count_faults(&s, mmu_modes[i], &prefetched);
		ck_assert_int_gt((int)plain, 60);
		ck_assert_int_eq((int)prefetched, 0);
		ck_assert_int_eq(stat(set, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, 0600);
		assert_few(&s, mmu_modes[i], plain);
		assert_few(&s, mmu_modes[1 - i], plain);
		printf("working_set: --mmu=%s: %d faults without a working set\n", mmu_modes[i], (int)plain);
	}
	free(set);
	leave_saved(&s);
}
END_TEST

/* Lazily, with one line about the working set. */
static void assert_remark(const struct saved *s, const char *words, const char *part)
{
	struct outcome o = restore(&s->place, words, "s");

	ck_assert_msg(o.status == s->status && !strcmp(o.out.data, s->rest), "status %d, '%s'", o.status, o.out.data);
	ck_assert_msg(strstr(o.err.data, "s/working-set: ") && strstr(o.err.data, part), "'%s' is not in '%s'", part, o.err.data);
	outcome_free(&o);
}

/* A working set that is damaged, or another snapshot's, is not used, and replaced. One that cannot be written is not missed. */
START_TEST(test_bad_working_set)
{
	struct saved s = save_guest(SAVED_MEMORY);

	assert_restored(&s, "--ram=lazy");
	run_in(&s, "cp s/working-set good && printf x >> s/working-set");
	assert_remark(&s, "--ram=lazy", "checksum is wrong; the guest starts without it");
	assert_restored(&s, "--ram=lazy");
	run_in(&s, "cmp s/working-set good");
	run_in(&s, "truncate -s 20 s/working-set");
	assert_remark(&s, "--ram=lazy", "the guest starts without it");
	run_in(&s, "rm s/working-set && mkdir s/working-set.partial");
	assert_restored(&s, "--ram=lazy");
	assert_remark(&s, "--ram=lazy --log=info", "what the guest needs first is not noted");
	run_in(&s, "test ! -e s/working-set");
	leave_saved(&s);
}
END_TEST

/* That all of RAM is looked at to save the guest does not make it a thing that the guest needs. */
START_TEST(test_set_without_snapshot)
{
	struct saved s = {.place = make_snapshot_place()};
	struct child c = start_run(&s.place.control, "--mem 4M @shell");
	char *stats = snapshot_path(&s.place, "stats"), words[100];
	json_t *all;
	struct outcome o;

	child_expect(&c, "> ");
	save(&s.place, "s");
	quit(&s.place.control, &c, "shell");
	c = start_restore(&s.place, "--ram=lazy", "s");
	save(&s.place, "t");
	quit(&s.place.control, &c, "shell, restored");
	snprintf(words, sizeof(words), "--ram=lazy --stats %s", stats);
	o = restore_with(&s.place, words, "s", "exit 3\n");
	assert_outcome(&o, 3, "exit 3\n", words);
	outcome_free(&o);
	all = json_load_file(stats, 0, NULL);
	ck_assert_int_gt((int)number_of(json_object_get(all, "userfaults"), "absent"), 0);
	json_decref(all);
	free(stats);
	leave_snapshot_place(&s.place);
}
END_TEST

/* Two snapshots of one guest at the same moment are two snapshots. */
START_TEST(test_foreign_working_set)
{
	struct saved s = {.place = make_snapshot_place()};
	struct child c = start_run(&s.place.control, "@shell");
	struct outcome o;

	child_expect(&c, "> ");
	ask_ok(&s.place.control, "pause");
	save(&s.place, "s");
	save(&s.place, "t");
	quit(&s.place.control, &c, "shell");
	o = restore_with(&s.place, "--ram=lazy", "t", "exit 3\n");
	assert_outcome(&o, 3, "exit 3\n", "t");
	outcome_free(&o);
	run_in(&s, "cp t/working-set s");
	o = restore_with(&s.place, "--ram=lazy", "s", "exit 3\n");
	assert_complaint(&o, 3, "s/working-set: of another snapshot; the guest starts without it", NULL, "s");
	outcome_free(&o);
	leave_snapshot_place(&s.place);
}
END_TEST

/* A guest that runs for long has its working set noted while it does, and nothing is lost with it. */
START_TEST(test_noted_early)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_run(&p.control, "@clock -- 100000");
	char *set = snapshot_path(&p, "s/working-set");
	uint64_t start = monotonic_ns();
	struct outcome o;

	save(&p, "s");
	quit(&p.control, &c, "clock");
	c = start_restore(&p, "--ram=lazy", "s");
	while (access(set, F_OK) && monotonic_ns() - start < 60000 * CONTROL_MS)
		usleep(100000);
	ck_assert_int_eq(access(set, F_OK), 0);
	kill(c.pid, SIGKILL);
	o = child_end(&c);
	outcome_free(&o);
	unlink(p.control.path);
	free(set);
	leave_snapshot_place(&p);
}
END_TEST

/* Several programs on one snapshot, which all note the same. */
START_TEST(test_at_once)
{
	struct saved s = save_guest("@clock -- 80");
	struct child c[4];
	char line[200];

	snprintf(line, sizeof(line), "restore --ram=lazy %s/s", s.place.control.directory);
	for (int i = 0; i < 4; i++)
		c[i] = child_start(&(struct spawn){.line = line, .in = SPAWN_NULL});
	for (int i = 0; i < 4; i++) {
		struct outcome o = child_end(&c[i]);

		assert_outcome(&o, s.status, s.rest, line);
		outcome_free(&o);
	}
	assert_restored(&s, "--ram=lazy");
	run_in(&s, "test -e s/working-set && test ! -e s/working-set.partial");
	leave_saved(&s);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_working_set, test_bad_working_set, test_set_without_snapshot, test_foreign_working_set, test_noted_early,
		test_at_once,
	};

	return RUN_TESTS("working_set", tests);
}
