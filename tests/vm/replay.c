/*
 * Every image, recorded while input comes at random times, and replayed in both modes: what it says, how it ends and what is in its RAM
 * is the same (the last is the replay's own to compare). A recording that was cut off goes as far as it goes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/directory.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

static const struct guest {
	const char *words, *input;
	enum { ALWAYS, LONG_ONLY, LONG_DIRECT } when; /* it takes many seconds; and has no shadow mode */
} guests[] = {
	{"@hello -- 7", "", ALWAYS},
	{"@echo", "one\ntwo\nexit 17\n", ALWAYS},
	{"@clock", "", ALWAYS},
	{"@clock -- 20 1000", "", ALWAYS},
	{"@procs", "", ALWAYS},
	{"@memory", "", ALWAYS},
	{"@memory -- pause=1", "", ALWAYS},
	{"@compute -- 10", "", ALWAYS},
	{"@compute -- sse 3", "", ALWAYS},
	{"@ports", "", ALWAYS},
	{"@accesses", "", ALWAYS},
	{"@frames", "", ALWAYS},
	{"@paging", "", LONG_ONLY},
	{"@shell", "hello a b\nticks\nbogus\nexit 3\n", ALWAYS},
	{"@shell", "procs\nstats\nexit\n", ALWAYS},
	{"--virtio-console @disk -- console", "first\nsecond\n", ALWAYS},
	{"@disk -- entropy", "", ALWAYS},
	{"@report -- random 5 12 128 1", "", ALWAYS},
	{"@report -- hostile", "", LONG_ONLY},
	{"@report -- give-all 1 40", "", ALWAYS},
	{"@hostile -- triple-fault", "", ALWAYS},
	{"@hostile -- hlt-forever", "", ALWAYS},
	{"@hostile -- interrupt-storm 20", "", ALWAYS},
	{"@hostile -- pit-garbage 2000", "", ALWAYS},
	{"@hostile -- rtc-garbage 2000", "", ALWAYS},
	{"@solo5-hello", "", ALWAYS},
	{"@solo5-hostile -- load data", "", ALWAYS},
	{"@solo5-sse", "", LONG_ONLY},
	{"@bank -- 4", "", ALWAYS},
	{"@badtables -- random 3", "", LONG_ONLY},
	{"@mmucost -- fork 3", "", LONG_ONLY},
	{"@pc-multiboot", "", LONG_DIRECT},
	{"@pc-multiboot-flat", "", LONG_DIRECT},
	{"@pc-pvh", "", LONG_DIRECT},
};

#define GUESTS (sizeof(guests) / sizeof(*guests))

/* Bytes of the input in pieces, with pauses between, or at once. */
static void type(struct child *c, const char *input, struct random *r)
{
	size_t size = strlen(input), n;

	for (bool slowly = random_below(r, 2); size; input += n, size -= n) {
		n = slowly ? 1 + random_below(r, size) : size;
		child_send(c, input, n);
		if (slowly)
			child_linger(c, (unsigned int)random_below(r, 30));
	}
	child_close_input(c);
}

static struct outcome record(const struct snapshot_place *p, const struct guest *g, const char *mode, const char *name, struct random *r)
{
	char line[600];
	struct spawn s = {.line = line};
	struct child c;

	snprintf(line, sizeof(line), "run --mmu %s --record %s/%s %s", mode, p->control.directory, name, g->words);
	c = child_start(&s);
	type(&c, g->input, r);
	return child_end(&c);
}

static struct outcome replay(const struct snapshot_place *p, const char *words, const char *name)
{
	char line[400];

	snprintf(line, sizeof(line), "replay%s %s/%s", words, p->control.directory, name);
	return spawn_line(line, "");
}

static void assert_same(const struct outcome *a, const struct outcome *b, const char *what, const char *mode)
{
	ck_assert_msg(a->status == b->status && !strcmp(a->out.data, b->out.data), "%s in --mmu=%s: status %d, not %d: '%s', not '%s': '%s'", what,
		      mode, b->status, a->status, b->out.data, a->out.data, b->err.data);
}

/* One mode cannot go on where the other can: SSE in ring 0 of a KVM that interprets it. */
static bool is_host_limit(const struct outcome *o)
{
	return o->status == 125 && strstr(o->err.data, "cannot in this mode on this host");
}

/* Returns how many replays that were. */
static unsigned int round_trip(const struct guest *g, const char *mode, struct random *r)
{
	struct snapshot_place p = make_snapshot_place();
	struct outcome first = record(&p, g, mode, "r", r);
	unsigned int count = 0;

	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[40];
		struct outcome again;

		if (g->when == LONG_DIRECT && strcmp(mmu_modes[i], "ept"))
			continue;
		snprintf(words, sizeof(words), " --mmu %s", mmu_modes[i]);
		again = replay(&p, words, "r");
		if (!strcmp(mmu_modes[i], mode) || !(is_host_limit(&first) || is_host_limit(&again))) {
			count++;
			assert_same(&first, &again, g->words, mmu_modes[i]);
		}
		outcome_free(&again);
	}
	outcome_free(&first);
	leave_snapshot_place(&p);
	return count;
}

static unsigned int rounds(const struct guest *g)
{
	if (g->when == LONG_DIRECT && mmu_is_shadow())
		return 0;
	return is_long() ? 20 : g->when == ALWAYS ? effort(2, 1) : 0;
}

/* A test of its own for each: Check cannot count the microseconds of one that takes more than half an hour, as all of them do in the lab. */
START_TEST(test_guest)
{
	const struct guest *g = &guests[_i];
	struct random r = random_start(g->words);
	unsigned int count = 0;

	for (unsigned int n = rounds(g); n--;)
		count += round_trip(g, mmu_is_shadow() ? "shadow" : "ept", &r);
	printf("replay: %s: %u replays\n", g->words, count);
}
END_TEST

/* What was on a disk is in the recording, which needs the disk no more. */
START_TEST(test_disk)
{
	static const char *const commands[] = {"fill 5", "check 5", "journal 20", "hostile"};
	struct snapshot_place p = make_snapshot_place();
	struct random r = random_start("disk");
	char *disk = snapshot_path(&p, "disk"), *away = snapshot_path(&p, "away");

	make_file(disk, "", 0, 0600);
	ck_assert_int_eq(truncate(disk, 256 << 10), 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		char words[300], name[8];
		struct guest g = {words, "", ALWAYS};
		struct outcome first, again;

		snprintf(words, sizeof(words), "--disk %s @disk -- %s", disk, commands[i]);
		snprintf(name, sizeof(name), "r%zu", i);
		first = record(&p, &g, mmu_is_shadow() ? "shadow" : "ept", name, &r);
		ck_assert_msg(first.status == 0, "%s: %d '%s' '%s'", words, first.status, first.out.data, first.err.data);
		ck_assert_int_eq(rename(disk, away), 0);
		again = replay(&p, i % 2 ? " --mmu shadow" : " --mmu ept", name);
		assert_same(&first, &again, words, i % 2 ? "shadow" : "ept");
		ck_assert_int_eq(rename(away, disk), 0);
		outcome_free(&again);
		outcome_free(&first);
	}
	free(disk);
	free(away);
	leave_snapshot_place(&p);
}
END_TEST

/* Files may have 10 MiB from here on. */
static void limit_files(void *arg)
{
	struct rlimit limit = {.rlim_cur = 10 << 20, .rlim_max = 10 << 20};

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(99);
}

/* The log cannot grow any more: that is said, the guest goes on, and what was written is replayed. */
START_TEST(test_full)
{
	struct snapshot_place p = make_snapshot_place();
	char *disk = snapshot_path(&p, "disk"), line[400];
	struct spawn s = {.line = line, .prepare = limit_files};
	struct outcome o;

	make_file(disk, "", 0, 0600);
	ck_assert_int_eq(truncate(disk, 12 << 20), 0);
	snprintf(line, sizeof(line), "run --disk %s @disk -- fill 5", disk);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
	snprintf(line, sizeof(line), "run --mmu %s --mem 8M --record %s/r --disk %s,ro @disk -- check 5", mmu_is_shadow() ? "shadow" : "ept",
		 p.control.directory, disk);
	o = spawn(&s, "", 0);
	ck_assert_msg(o.status == 125 && strstr(o.out.data, "24576 sectors are right") && strstr(o.err.data, "the recording ends here, the guest goes on"),
		      "%d '%s' '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	o = replay(&p, "", "r");
	ck_assert_msg(o.status == 0 && strstr(o.err.data, "cut off here"), "%d '%s' '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	free(disk);
	leave_snapshot_place(&p);
}
END_TEST

/* A part of a guest's life: what it says from here to there, again and in both modes; and before and after it nothing is different. */
START_TEST(test_part)
{
	struct snapshot_place p = make_snapshot_place();
	struct child c = start_shell(&p, mmu_is_shadow() ? "--mmu shadow" : "--mmu ept");
	char request[300];
	size_t from, to;

	snprintf(request, sizeof(request), "record start %s/r", p.control.directory);
	ask_ok(&p.control, request);
	from = c.said.size;
	child_send(&c, "hello a\n", 8);
	child_expect(&c, "world a\n> ");
	ask_ok(&p.control, mmu_is_shadow() ? "mmu ept" : "mmu shadow");
	child_send(&c, "procs\n", 6);
	child_expect(&c, "procs: all good\n> ");
	child_linger(&c, 100);
	to = c.said.size;
	assert_error(ask(&p.control, request), "record: the guest is recorded already, or replayed", "twice");
	ask_ok(&p.control, "record stop");
	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[40];
		struct outcome o;

		snprintf(words, sizeof(words), " --mmu %s", mmu_modes[i]);
		o = replay(&p, words, "r");
		ck_assert_msg(o.status == 0 && o.out.size == to - from && !memcmp(o.out.data, c.said.data + from, to - from) &&
			      strstr(o.err.data, "the recording ends here"), "%s: %d '%s' '%s'", mmu_modes[i], o.status, o.out.data, o.err.data);
		outcome_free(&o);
	}
	assert_error(ask(&p.control, "record stop"), "record: there is none that `record start` began", "no more");
	assert_error(ask(&p.control, "record start x"), "record: x: not a whole path, from / on", "relative");
	assert_error(ask(&p.control, "record on"), "record: give start DIR or stop", "other word");
	ck_assert(!ask_quietly(&p.control, request)); /* it is there already */
	snprintf(request, sizeof(request), "record start %s/again", p.control.directory);
	ask_ok(&p.control, request);
	child_send(&c, "time\nexit 3\n", 12);
	{
		struct outcome o = child_end(&c), again = replay(&p, "", "again");

		ck_assert_int_eq(o.status, 3);
		ck_assert_msg(again.status == 3 && strstr(o.out.data, again.out.data), "%d '%s', of '%s'", again.status, again.out.data, o.out.data);
		outcome_free(&again);
		outcome_free(&o);
	}
	leave_snapshot_place(&p);
}
END_TEST

/* Killed while it waits for input: what it had said by then is in the log. */
START_TEST(test_killed)
{
	struct snapshot_place p = make_snapshot_place();
	char line[300];
	struct spawn s = {.line = line};
	struct outcome killed, again;
	struct child c;

	snprintf(line, sizeof(line), "run --record %s/r @shell", p.control.directory);
	c = child_start(&s);
	child_expect(&c, "> ");
	child_send(&c, "hello\n", 6);
	child_expect(&c, "world\n> ");
	child_linger(&c, 300);
	kill(c.pid, SIGKILL);
	killed = child_end(&c);
	again = replay(&p, "", "r");
	ck_assert_int_eq(again.status, 0);
	ck_assert_msg(strstr(again.err.data, "cut off here"), "'%s'", again.err.data);
	ck_assert_str_eq(again.out.data, killed.out.data);
	outcome_free(&again);
	again = replay(&p, " --until 5", "r");
	ck_assert_msg(again.status == 0 && strstr(again.err.data, "at position 5, as --until says"), "%d '%s'", again.status, again.err.data);
	ck_assert_int_eq(strncmp(again.out.data, killed.out.data, again.out.size), 0);
	outcome_free(&again);
	outcome_free(&killed);
	leave_snapshot_place(&p);
}
END_TEST

/* Those that never make an access get their interrupts, and are not replayed slower for it. */
START_TEST(test_computing)
{
	struct snapshot_place p = make_snapshot_place();
	struct guest g = {"@clock -- 10 100", "", ALWAYS};
	struct random r = random_start("computing");
	struct outcome first = record(&p, &g, mmu_is_shadow() ? "shadow" : "ept", "r", &r), o;
	char line[300];

	snprintf(line, sizeof(line), "inspect --json %s/r", p.control.directory);
	o = spawn_line(line, "");
	ck_assert_msg(o.status == 0 && strstr(o.out.data, "\"whole\": true") && !strstr(o.out.data, "\"state\": 0"), "%d '%s'", o.status,
		      o.out.data);
	outcome_free(&o);
	o = replay(&p, " --mmu shadow", "r");
	assert_same(&first, &o, g.words, "shadow");
	outcome_free(&o);
	outcome_free(&first);
	leave_snapshot_place(&p);
}
END_TEST

/* Where a mode cannot go on that is said, and is no divergence. */
START_TEST(test_host_limit)
{
	struct snapshot_place p = make_snapshot_place();
	struct guest g = {"@solo5-sse", "", ALWAYS};
	struct random r = random_start("host limit");
	struct outcome first = record(&p, &g, "shadow", "r", &r), o = replay(&p, " --mmu ept", "r");

	ck_assert_int_eq(first.status, 0);
	if (is_host_limit(&o))
		ck_assert_msg(strchr(o.err.data, '\n') == o.err.data + o.err.size - 1, "%s", o.err.data);
	else
		assert_same(&first, &o, g.words, "ept");
	outcome_free(&o);
	outcome_free(&first);
	leave_snapshot_place(&p);
}
END_TEST

static void assert_refused(const struct snapshot_place *p, const char *command, const char *part)
{
	char line[400];
	struct outcome o;

	snprintf(line, sizeof(line), command, p->control.directory);
	o = spawn_line(line, "");
	ck_assert_msg(o.status == 125 && strstr(o.err.data, part) && strchr(o.err.data, '\n') == o.err.data + o.err.size - 1, "%s: %d '%s'",
		      line, o.status, o.err.data);
	outcome_free(&o);
}

START_TEST(test_refusals)
{
	struct snapshot_place p = make_snapshot_place();
	struct random r = random_start("refusals");
	struct outcome o = record(&p, &guests[0], "ept", "r", &r);
	char command[300];

	outcome_free(&o);
	assert_refused(&p, "run --record %s/r @hello", "something of that name already");
	assert_refused(&p, "run --record %s/no/r @hello", "No such file");
	assert_refused(&p, "run --count 2 --record %s/2 @hello", "not with several guests");
	assert_refused(&p, "replay %s", "not a recording");
	assert_refused(&p, "replay %s/none", "not a recording");
	assert_refused(&p, "replay --until x %s/r", "a number of accesses");
	assert_refused(&p, "replay --bisect --until 5 %s/r", "not with --until");
	assert_refused(&p, "restore %s/r", "not a snapshot");
	snprintf(command, sizeof(command), "cd %s && cp -r r twin && rm -r twin/start && cp -r r/start s && rm r/log", p.control.directory);
	ck_assert_int_eq(system(command), 0);
	assert_refused(&p, "replay %s/twin", "not a recording");
	assert_refused(&p, "replay %s/r", "no log of a recording");
	assert_refused(&p, "inspect %s/r", "no log of a recording");
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_disk, test_full, test_part, test_killed, test_computing, test_host_limit, test_refusals};
	TCase *tcase = tcase_create("replay");

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, test_guest, 0, GUESTS);
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	return run_case("replay", tcase);
}
