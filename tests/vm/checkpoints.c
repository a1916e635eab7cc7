/*
 * Guests that are saved again and again while they run, and programs that are killed at any moment: the last checkpoint is always
 * there and right.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define CHAIN 32u /* increments on a full one: what the manual says */
#define GUEST "--mem 16M @memory -- seed=5 rounds=60 pause=1"

static struct child start_saved(const char *mode, const char *command, const char *directory, const char *words,
				 unsigned int every)
{
	char line[300];

	snprintf(line, sizeof(line), "%s --mmu %s --checkpoint %s --checkpoint-every %u %s", command, mode, directory, every,
		 words);
	return child_start(&(struct spawn){.line = line});
}

static const char *random_mode(struct random *r)
{
	return mmu_modes[random_below(r, MMU_MODES)];
}

/* What a guest left alone says. */
static struct outcome run_whole(void)
{
	struct outcome o = spawn_line("run " GUEST, "");

	ck_assert_int_eq(o.status, 0);
	return o;
}

/* Whether there is one that was not there before; false: the guest has ended. */
static bool await_newer(const char *directory, unsigned int number, const struct child *c)
{
	while (newest_checkpoint(directory) <= number && !child_has_ended(c))
		usleep(1000);
	return newest_checkpoint(directory) > number;
}

/*
 * Killed at a random moment, with something to lose or, unless `wait`, perhaps before there is. Returns whether it was brought
 * back.
 */
static bool try_kill(const struct snapshot_place *p, const char *directory, const struct outcome *whole, bool wait,
		     struct random *r)
{
	unsigned int before = newest_checkpoint(directory), every = 1 + (unsigned int)random_below(r, 50);
	struct child c = start_saved(random_mode(r), "run", directory, GUEST, every);
	bool there = wait && await_newer(directory, before, &c);
	struct outcome o, rest;
	char words[60];

	usleep((useconds_t)random_below(r, 600000));
	kill(c.pid, SIGKILL);
	o = child_end(&c);
	ck_assert(!there || newest_checkpoint(directory) > before);
	there = newest_checkpoint(directory) > before;
	if (there) {
		snprintf(words, sizeof(words), "--mmu %s --ram %s", random_mode(r), random_below(r, 2) ? "lazy" : "now");
		rest = restore(p, words, "c");
		assert_went_on(whole, &o, &rest, words);
		outcome_free(&rest);
	}
	outcome_free(&o);
	return there;
}

START_TEST(test_killed)
{
	struct random r = random_start("checkpoints");
	struct outcome whole = run_whole();
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), clean[300];
	unsigned int restored = 0;

	snprintf(clean, sizeof(clean), "rm -rf %s", directory);
	for (unsigned int i = 0; i < effort(30, 6); i++) {
		restored += try_kill(&p, directory, &whole, i % 6 != 5, &r);
		if (i % 3 == 2)
			ck_assert_int_eq(system(clean), 0);
	}
	printf("checkpoints: %u restored after a kill\n", restored);
	outcome_free(&whole);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* Restored from its directory, it goes on saving itself there; chain and directory stay bounded. */
START_TEST(test_generations)
{
	struct random r = random_start("checkpoints");
	struct outcome whole = run_whole();
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), words[100];
	struct child c = start_saved("ept", "run", directory, GUEST, 2);
	struct outcome o;

	for (int i = 0; i < 4; i++) {
		while (!count_checkpoints(directory) && !child_has_ended(&c))
			usleep(2000);
		usleep(100000);
		kill(c.pid, SIGKILL);
		o = child_end(&c);
		outcome_free(&o);
		ck_assert_uint_le(count_checkpoints(directory), 2 * (CHAIN + 1));
		snprintf(words, sizeof(words), "--ram=%s %s", random_below(&r, 2) ? "lazy" : "now", directory);
		c = start_saved(random_mode(&r), "restore", directory, words, 2);
	}
	o = child_end(&c);
	ck_assert_msg(o.status == 0 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
	ck_assert_msg(o.out.size <= whole.out.size && !strcmp(whole.out.data + whole.out.size - o.out.size, o.out.data), "'%s'",
		      o.out.data);
	ck_assert_uint_le(count_checkpoints(directory), 2 * (CHAIN + 1));
	outcome_free(&o);
	outcome_free(&whole);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* The guest that is saved notices nothing; what it would have said comes once. */
START_TEST(test_undisturbed)
{
	struct outcome whole = run_whole(), o;
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c");

	for (size_t i = 0; i < MMU_MODES; i++) {
		struct child c = start_saved(mmu_modes[i], "run", directory, GUEST, 5);

		o = child_end(&c);
		assert_outcome(&o, 0, whole.out.data, mmu_modes[i]);
		outcome_free(&o);
		ck_assert_uint_gt(count_checkpoints(directory), 0);
	}
	outcome_free(&whole);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* A chain that has become long is joined, and what it was made of is removed. */
START_TEST(test_joined)
{
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), line[300];
	struct child c;
	struct outcome o;
	json_int_t joined = 0;

	snprintf(line, sizeof(line), "--checkpoint %s --checkpoint-every 1 --mem 16M @memory -- rounds=1000000 pause=1", directory);
	c = start_listening(&p, "run", line, SPAWN_NULL);
	while (joined < 2) {
		json_t *stats = ask_stats(&p.control);

		joined = json_integer_value(json_object_get(json_object_get(json_array_get(stats, 0), "saves"), "joined"));
		json_decref(stats);
		usleep(1000);
	}
	ck_assert_uint_le(count_checkpoints(directory), CHAIN + 3);
	kill(c.pid, SIGKILL);
	o = child_end(&c);
	outcome_free(&o);
	unlink(p.control.path);
	snprintf(line, sizeof(line), "inspect %s", directory);
	o = spawn_line(line, "");
	ck_assert_msg(o.status == 0 && strstr(o.out.data, "full"), "status %d, '%s', '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* Where a checkpoint cannot be written, the guest goes on, and it is said once. */
START_TEST(test_not_written)
{
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), command[200];
	struct child c = start_saved("ept", "run", directory, "@clock -- 60", 5);
	struct outcome o;

	while (!count_checkpoints(directory) && !child_has_ended(&c))
		usleep(2000);
	snprintf(command, sizeof(command), "mv %s %s.away", directory, directory);
	ck_assert_int_eq(system(command), 0);
	o = child_end(&c);
	assert_complaint(&o, 0, "checkpoint", "No such file", "directory gone");
	outcome_free(&o);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* Has a file system of its own at `path`, seen by this process and its children alone. False where that is not allowed. */
static bool mount_small(const char *path, const char *options)
{
	return mkdir(path, 0700) == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", path, "tmpfs", 0, options) == 0;
}

/*
 * The disk fills up while the guest runs: it goes on, it is said once, and the last checkpoint that had room is good. When
 * there is room again, so is the next one.
 */
START_TEST(test_disk_full)
{
	struct outcome whole = run_whole(), o, rest;
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), *inside = snapshot_path(&p, "c/c");
	unsigned int newest;
	struct child c;

	if (!mount_small(directory, "size=2500k")) {
		printf("checkpoints: no file system that fills up: %s\n", strerror(errno));
	} else {
		c = start_saved("ept", "run", inside, GUEST, 2);
		while (!strstr(c.complained.data, "\n") && !child_has_ended(&c))
			child_linger(&c, 20);
		newest = newest_checkpoint(inside);
		ck_assert_int_eq(mount(NULL, directory, NULL, MS_REMOUNT, "size=60m"), 0);
		o = child_end(&c);
		assert_complaint(&o, 0, "checkpoint", "No space left", "full");
		ck_assert_str_eq(o.out.data, whole.out.data);
		ck_assert_uint_gt(newest, 0);
		printf("checkpoints: %u until the disk was full, then up to %u\n", newest, newest_checkpoint(inside));
		rest = restore(&p, "", "c/c");
		assert_went_on(&whole, &o, &rest, "full");
		outcome_free(&rest);
		outcome_free(&o);
		ck_assert_int_eq(umount(directory), 0);
	}
	outcome_free(&whole);
	free(directory);
	free(inside);
	leave_snapshot_place(&p);
}
END_TEST

static void assert_bad(const char *line, const char *part)
{
	struct outcome o = spawn_line(line, "");

	assert_complaint(&o, 125, part, NULL, line);
	outcome_free(&o);
}

START_TEST(test_refusals)
{
	struct snapshot_place p = make_snapshot_place();
	char *directory = snapshot_path(&p, "c"), line[300];
	struct child c = start_saved("ept", "run", directory, "@clock -- 100000", 5);
	struct outcome o;

	while (!count_checkpoints(directory) && !child_has_ended(&c))
		usleep(2000);
	snprintf(line, sizeof(line), "run --checkpoint %s @clock -- 100000", directory);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 125);
	ck_assert_ptr_nonnull(strstr(o.err.data, "another guest keeps its checkpoints there"));
	outcome_free(&o);
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	assert_bad("run --checkpoint-every 5 @hello", "give --checkpoint");
	assert_bad("run --checkpoint c --count 2 @hello", "several guests");
	assert_bad("run --checkpoint c --checkpoint-every 0 @hello", "--checkpoint-every");
	assert_bad("restore --checkpoint-every 5 /tmp", "state");
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_killed, test_generations, test_undisturbed, test_joined, test_not_written, test_disk_full, test_refusals,
	};

	return RUN_TESTS("checkpoints", tests);
}
