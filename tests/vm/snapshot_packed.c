/*
 * Snapshots that are stored compressed: saved so, written anew from others, restored and cloned like any; and what is said about
 * directories that are something else.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

/* A command with names of files in the place, as %1$s/name, and its whole output. */
__attribute__((format(printf, 2, 3))) static struct outcome say(const char *input, const char *format, ...)
{
	char line[500];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return spawn_line(line, input);
}

static void assert_done(struct outcome o, const char *what)
{
	assert_outcome(&o, 0, "", what);
	outcome_free(&o);
}

static void assert_bad(struct outcome o, int status, const char *part, const char *other)
{
	assert_complaint(&o, status, part, other, part);
	outcome_free(&o);
}

static void assert_inspected(const struct snapshot_place *p, const char *name, const char *part)
{
	struct outcome o = say("", "inspect %s/%s", p->control.directory, name);

	ck_assert_msg(o.status == 0 && !o.err.size && strstr(o.out.data, part), "%s: '%s' '%s'", name, o.out.data, o.err.data);
	outcome_free(&o);
}

static off_t size_of(const struct snapshot_place *p, const char *name)
{
	char *path = snapshot_path(p, name);
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	free(path);
	return st.st_size;
}

static void assert_goes_on(const struct snapshot_place *p, const char *name)
{
	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[40];
		struct outcome o;

		snprintf(words, sizeof(words), "--mmu %s", mmu_modes[i]);
		o = restore_with(p, words, name, "hello again\nexit 4\n");
		assert_outcome(&o, 4, "hello again\nhello, world again\n> exit 4\n", name);
		outcome_free(&o);
	}
}

static struct child start_small_shell(const struct snapshot_place *p, const char *mode)
{
	char words[60];

	snprintf(words, sizeof(words), "--mem 16M --mmu %s", mode);
	return start_shell(p, words);
}

START_TEST(test_saved)
{
	for (size_t i = 0; i < MMU_MODES; i++) {
		struct snapshot_place p = make_snapshot_place();
		struct child c = start_small_shell(&p, mmu_modes[i]);
		const char *directory = p.control.directory;

		save(&p, "plain");
		assert_done(say("", "ctl %s snapshot --compress %s/before", p.control.path, directory), "before");
		assert_done(say("", "ctl %s snapshot %s/behind --compress", p.control.path, directory), "behind");
		quit(&p.control, &c, "shell");
		assert_inspected(&p, "before", "compressed to");
		assert_inspected(&p, "behind", "compressed to");
		ck_assert_int_lt(size_of(&p, "behind/memory"), size_of(&p, "plain/memory") / 64);
		assert_goes_on(&p, "before");
		assert_goes_on(&p, "behind");
		leave_snapshot_place(&p);
	}
}
END_TEST

/* A compressed file has pages to read, and none to map. */
START_TEST(test_lazy)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_small_shell(&p, "ept");

	ck_assert(save_quietly(&p, "--compress ", "s"));
	quit(&p.control, &c, "shell");
	for (size_t i = 0; i < 2 * MMU_MODES; i++) {
		char words[60];
		struct outcome o;

		snprintf(words, sizeof(words), "--ram lazy --mmu %s", mmu_modes[i / 2]);
		o = restore_with(&p, words, "s", "hello again\nexit 4\n");
		assert_outcome(&o, 4, "hello again\nhello, world again\n> exit 4\n", words);
		outcome_free(&o);
	}
	assert_not_restored(&p, "--ram mapped", "s", "pack --plain");
	leave_snapshot_place(&p);
}
END_TEST

START_TEST(test_cloned)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_run(&p.control, "--mem 16M @clock -- 60");

	child_linger(&c, 100);
	ck_assert(save_quietly(&p, "--compress ", "s"));
	quit(&p.control, &c, "clock");
	for (size_t i = 0; i < MMU_MODES; i++) {
		struct outcome o = say("", "clone --count 5 --mmu %s %s/s", mmu_modes[i], p.control.directory);
		unsigned int lines = 0;

		ck_assert_msg(o.status == 0 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
		for (char *at = o.out.data; (at = strstr(at, ": clock: 60 ticks at 100 Hz")); at++)
			lines++;
		ck_assert_uint_eq(lines, 5);
		outcome_free(&o);
	}
	leave_snapshot_place(&p);
}
END_TEST

static void assert_same(const struct snapshot_place *p, const char *a, const char *b)
{
	char command[400];

	snprintf(command, sizeof(command), "cmp %s/%s %s/%s", p->control.directory, a, p->control.directory, b);
	ck_assert_msg(system(command) == 0, "%s is another than %s", a, b);
}

/* There and back. */
START_TEST(test_packed)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_small_shell(&p, "ept");
	const char *directory = p.control.directory;

	save(&p, "plain");
	quit(&p.control, &c, "shell");
	assert_done(say("", "pack %s/plain %s/small", directory, directory), "pack");
	assert_done(say("", "pack --plain %s/small %s/large", directory, directory), "pack --plain");
	assert_done(say("", "pack %s/large %s/again", directory, directory), "pack again");
	assert_inspected(&p, "small", "compressed to");
	assert_same(&p, "plain/memory", "large/memory");
	assert_same(&p, "plain/image", "large/image");
	assert_same(&p, "small/memory", "again/memory");
	assert_goes_on(&p, "plain");
	assert_goes_on(&p, "small");
	assert_goes_on(&p, "large");
	assert_bad(say("", "pack %s/plain %s/small", directory, directory), 125, "small", "already");
	assert_bad(say("", "pack %s %s/new", directory, directory), 125, "not a snapshot", NULL);
	assert_bad(say("", "pack %s/plain", directory), 125, "name a snapshot", NULL);
	assert_bad(say("", "pack a b c"), 125, "one snapshot", NULL);
	assert_bad(say("", "pack %s/absent %s/new", directory, directory), 125, "absent", "No such file");
	leave_snapshot_place(&p);
}
END_TEST

static bool has_increments(const struct snapshot_place *p)
{
	struct outcome o = say("", "inspect %s/c", p->control.directory);
	bool has = strstr(o.out.data, "  incremental  ");

	outcome_free(&o);
	return has;
}

/* A guest that was killed when its newest checkpoint had a parent. */
static void make_checkpoints(const struct snapshot_place *p)
{
	char words[200];

	snprintf(words, sizeof(words), "--mem 16M --checkpoint %s/c --checkpoint-every 20 @memory -- seed=5 rounds=200 pause=1",
		 p->control.directory);
	do {
		struct child c = start_run(&p->control, words);
		struct outcome o;

		while (!has_increments(p) && !child_has_ended(&c))
			usleep(2000);
		kill(c.pid, SIGKILL);
		o = child_end(&c);
		outcome_free(&o);
		unlink(p->control.path);
	} while (!has_increments(p));
}

static void damage_newest(const struct snapshot_place *p)
{
	char command[300];

	snprintf(command, sizeof(command), "printf x | dd of=$(ls -d %s/c/0??????? | tail -1)/memory %s",
		 p->control.directory, "bs=1 seek=1050624 conv=notrunc 2>/dev/null");
	ck_assert_int_eq(system(command), 0);
}

/* What stood for a chain, alone: the same guest, to its end. */
START_TEST(test_checkpoints)
{
	struct snapshot_place p = make_snapshot_place();
	const char *directory = p.control.directory;
	char command[300];
	struct outcome whole, o;

	make_checkpoints(&p);
	assert_inspected(&p, "c", "which is whole\n");
	assert_inspected(&p, "c", "  full  ");
	assert_bad(say("", "run %s/c", directory), 127, "penumbra restore", NULL);
	whole = say("", "restore %s/c", directory);
	assert_done(say("", "pack %s/c %s/small", directory, directory), "pack");
	damage_newest(&p);
	o = say("", "inspect %s/c", directory);
	ck_assert_msg(o.status == 125 && strstr(o.out.data, "which is not whole\n") && strstr(o.err.data, "/memory: damaged"),
		      "%d '%s' '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	snprintf(command, sizeof(command), "rm -r %s/c", directory);
	ck_assert_int_eq(system(command), 0);
	o = say("", "restore --mmu shadow %s/small", directory);
	assert_outcome(&o, whole.status, whole.out.data, "packed checkpoint");
	outcome_free(&o);
	outcome_free(&whole);
	leave_snapshot_place(&p);
}
END_TEST

START_TEST(test_refusals)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_small_shell(&p, "ept");
	const char *directory = p.control.directory;

	assert_error(ask(&p.control, "snapshot --compress"), "snapshot: --compress: not a whole path, from / on", "no directory");
	assert_error(ask(&p.control, "snapshot --compress x"), "snapshot: x: not a whole path, from / on", "relative");
	assert_error(ask(&p.control, "snapshot --no /x"), "snapshot: --no /x: not a whole path, from / on", "other option");
	assert_bad(say("", "ctl %s pause --compress", p.control.path), 125, "--compress", "snapshot DIR");
	assert_bad(say("", "ctl %s snapshot --compress", p.control.path), 125, "--compress", "snapshot DIR");
	ck_assert(save_quietly(&p, "--compress \t ", "s"));
	quit(&p.control, &c, "shell");
	assert_bad(say("", "run %s/s", directory), 127, "a saved guest", "penumbra restore");
	assert_bad(say("", "restore %s/s/state", directory), 125, "not a snapshot", "penumbra run");
	assert_bad(say("", "restore %s", directory), 125, "not a snapshot", "state");
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_saved, test_lazy, test_cloned, test_packed, test_checkpoints, test_refusals};

	return RUN_TESTS("snapshot_packed", tests);
}
