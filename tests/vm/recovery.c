/*
 * A guest that is recorded and saved, and killed at any moment: it is brought back to where it was. What was seen of it, on the console and
 * on its disk, has happened; nothing else has.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/directory.h"
#include "tests/vm/effort.h"
#include "tests/vm/ledger.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

struct ledger {
	struct snapshot_place place;
	char *disk, *checkpoints;
	struct random *r;
};

static const char *random_mode(struct random *r)
{
	return mmu_modes[random_below(r, MMU_MODES)];
}

static const char *mode_of_test(void)
{
	return mmu_is_shadow() ? "shadow" : "ept";
}

static struct ledger make_ledger(struct random *r)
{
	struct ledger l = {.place = make_snapshot_place(), .r = r};

	l.disk = snapshot_path(&l.place, "disk");
	l.checkpoints = snapshot_path(&l.place, "c");
	make_file(l.disk, "", 0, 0600);
	ck_assert_int_eq(truncate(l.disk, LEDGER_SECTORS * 512), 0);
	return l;
}

static void leave_ledger(struct ledger *l)
{
	leave_snapshot_place(&l->place);
	free(l->disk);
	free(l->checkpoints);
}

static bool has_begun(const struct ledger *l)
{
	char *state = snapshot_path(&l->place, "r/start/state");
	bool there = access(state, F_OK) == 0;

	free(state);
	return there;
}

static struct child start_ledger(const struct ledger *l, unsigned int every, unsigned int ticks)
{
	char line[500];
	const char *d = l->place.control.directory;
	struct child c;

	snprintf(line, sizeof(line), "run --mmu %s --mem 8M --record %s/r --checkpoint %s/c --checkpoint-every %u --disk %s @disk -- ledger %u",
		 mode_of_test(), d, d, every, l->disk, ticks);
	c = child_start(&(struct spawn){.line = line});
	while (!has_begun(l) && !child_has_ended(&c))
		child_linger(&c, 1);
	return c;
}

/* Types and waits, for so many ms about. */
static void keep_busy(struct child *c, struct random *r, unsigned int ms)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz \n\n";
	uint64_t until = monotonic_ns() + ms * 1000000ull;

	while (monotonic_ns() < until && !child_has_ended(c)) {
		char text[40];
		size_t n = random_below(r, sizeof(text));

		for (size_t i = 0; i < n; i++)
			text[i] = letters[random_below(r, sizeof(letters) - 1)];
		child_send(c, text, n);
		child_linger(c, (unsigned int)random_below(r, 20));
	}
}

static struct outcome kill_now(struct child *c)
{
	kill(c->pid, SIGKILL);
	return child_end(c);
}

static struct child start_again_with(const struct ledger *l, const char *words, const char *recording, const char *input)
{
	char line[500], *from = newest_checkpoint(l->checkpoints) ? snapshot_path(&l->place, "c") : snapshot_path(&l->place, "r/start");

	snprintf(line, sizeof(line), "restore --mmu %s --ram %s --recording %s/%s %s%s", random_mode(l->r), random_below(l->r, 2) ? "lazy" : "now",
		 l->place.control.directory, recording, words, from);
	free(from);
	return child_start(&(struct spawn){.line = line, .stdin_path = input});
}

static struct child start_again(const struct ledger *l, const char *words, const char *recording)
{
	return start_again_with(l, words, recording, NULL);
}

/* It lives: it takes what is typed, and ends as it is told, having found on its disk what it had written there. */
static struct outcome live_and_end(struct child *c)
{
	child_send(c, "\nback\n", 6);
	child_expect(c, " back\n");
	child_send(c, "exit 7\n", 7);
	return child_end(c);
}

static void assert_recovered(const struct ledger *l, const struct outcome *killed, const struct outcome *again)
{
	char why[200];

	ck_assert_msg(again->status == 7, "status %d, '%s', after '%s': '%s'", again->status, again->out.data, killed->out.data, again->err.data);
	ck_assert_msg(strstr(again->out.data, ", 0 wrong\n") && !strstr(again->out.data, "WRONG"), "'%s'", again->out.data);
	ck_assert_msg(ledger_goes_on(killed->out.data, again->out.data, why), "%s: '%s', after '%s'", why, again->out.data, killed->out.data);
	ck_assert_msg(ledger_is_on_disk(l->disk, killed->out.data, again->out.data, why), "%s: '%s', after '%s'", why, again->out.data,
		      killed->out.data);
}

/* How many entries it had said. */
static size_t kill_and_recover(struct random *r)
{
	size_t entries;
	struct ledger l = make_ledger(r);
	struct child c = start_ledger(&l, 5 + (unsigned int)random_below(r, 300), 1 + (unsigned int)random_below(r, 4));
	struct outcome killed, again;

	keep_busy(&c, r, (unsigned int)random_below(r, 900));
	killed = kill_now(&c);
	c = start_again(&l, "", "r");
	again = live_and_end(&c);
	assert_recovered(&l, &killed, &again);
	entries = ledger_entries(killed.out.data);
	outcome_free(&again);
	outcome_free(&killed);
	leave_ledger(&l);
	return entries;
}

START_TEST(test_killed)
{
	struct random r = random_start("killed");
	unsigned int kills = effort(10, 2);
	size_t entries = 0;

	for (unsigned int i = 0; i < kills; i++)
		entries += kill_and_recover(&r);
	printf("recovery: %u kills, after %zu entries\n", kills, entries);
}
END_TEST

/* The guest that was brought back is recorded and saved again, and killed again. */
START_TEST(test_generations)
{
	struct random r = random_start("generations");
	struct ledger l = make_ledger(&r);
	struct child c = start_ledger(&l, 40, 2);
	struct outcome before, again;
	char recording[20] = "r", words[300];

	keep_busy(&c, &r, 500);
	before = kill_now(&c);
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int newest = newest_checkpoint(l.checkpoints);
		char why[200];

		snprintf(words, sizeof(words), "--record %s/r%u --checkpoint-every 30 --checkpoint %s ", l.place.control.directory, i, l.checkpoints);
		c = start_again(&l, words, recording);
		child_send(&c, "\nback\n", 6);
		child_expect(&c, " back\n");
		while (newest_checkpoint(l.checkpoints) <= newest && !child_has_ended(&c))
			child_linger(&c, 5);
		keep_busy(&c, &r, (unsigned int)random_below(&r, 300));
		snprintf(recording, sizeof(recording), "r%u", i);
		again = kill_now(&c);
		ck_assert_msg(ledger_goes_on(before.out.data, again.out.data, why), "%s: '%s', after '%s': %s", why, again.out.data, before.out.data,
			      again.err.data);
		outcome_free(&before);
		before = again;
	}
	c = start_again(&l, "", recording);
	again = live_and_end(&c);
	assert_recovered(&l, &before, &again);
	outcome_free(&again);
	outcome_free(&before);
	leave_ledger(&l);
}
END_TEST

/* Without the recording it does something else than what was seen, which is how we know that we would notice. */
START_TEST(test_noticed)
{
	struct random r = random_start("noticed");
	struct ledger l = make_ledger(&r);
	struct child c = start_ledger(&l, 600000, 1);
	struct outcome killed, again;
	char why[200], line[300];

	keep_busy(&c, &r, 300);
	while (ledger_entries(c.said.data) < 3 * LEDGER_SECTORS && !child_has_ended(&c))
		child_linger(&c, 10);
	killed = kill_now(&c);
	snprintf(line, sizeof(line), "restore %s/r/start", l.place.control.directory);
	c = child_start(&(struct spawn){.line = line});
	child_send(&c, "exit 7\n", 7);
	again = child_end(&c);
	ck_assert_int_eq(again.status, 7);
	ck_assert_msg(!ledger_goes_on(killed.out.data, again.out.data, why), "'%s'", again.out.data);
	outcome_free(&again);
	outcome_free(&killed);
	leave_ledger(&l);
}
END_TEST

/* Whatever is being done about its checkpoints when it ends. */
static void end_and_end_again(struct random *r)
{
	struct ledger l = make_ledger(r);
	struct child c = start_ledger(&l, 1 + (unsigned int)random_below(r, 50), 2);
	struct outcome first, again;

	keep_busy(&c, r, 100 + (unsigned int)random_below(r, 200));
	child_send(&c, "\nexit 7\n", 8);
	first = child_end(&c);
	ck_assert_int_eq(first.status, 7);
	c = start_again(&l, "", "r");
	again = child_end(&c);
	ck_assert_msg(again.status == 7, "status %d: '%s'", again.status, again.err.data);
	ck_assert_msg(first.out.size >= again.out.size && !strcmp(first.out.data + first.out.size - again.out.size, again.out.data), "'%s', not '%s'",
		      again.out.data, first.out.data);
	outcome_free(&again);
	outcome_free(&first);
	leave_ledger(&l);
}

/* A recording that is whole: the guest ends as it did. */
START_TEST(test_ended)
{
	struct random r = random_start("ended");

	for (unsigned int n = effort(10, 2); n; n--)
		end_and_end_again(&r);
}
END_TEST

/* Wherever the log is cut off or damaged, it is used up to there, or it is said what it lacks. */
START_TEST(test_damaged)
{
	struct random r = random_start("damaged");
	struct ledger l = make_ledger(&r);
	struct child c = start_ledger(&l, 100, 1);
	char *log = snapshot_path(&l.place, "r/log.partial"), *input = snapshot_path(&l.place, "input"), command[300];
	struct outcome o;
	struct stat st;

	keep_busy(&c, &r, 500);
	o = kill_now(&c);
	outcome_free(&o);
	ck_assert_int_eq(stat(log, &st), 0);
	make_file(input, "\nexit 7\n", 8, 0600);
	for (unsigned int i = 0; i < effort(6, 2); i++) {
		snprintf(command, sizeof(command), "cd %s && cp disk disk.was && cp r/log.partial log.was", l.place.control.directory);
		ck_assert_int_eq(system(command), 0);
		ck_assert_int_eq(truncate(log, (off_t)random_below(&r, (uint64_t)st.st_size)), 0);
		c = start_again_with(&l, "", "r", input);
		o = child_end(&c);
		ck_assert_msg(o.status == 7 || o.status == 1 || (o.status == 125 && strstr(o.err.data, "r/log.partial")) ||
			      (o.status == 125 && strstr(o.err.data, "was not taken while the guest was recorded")), "%d '%s' '%s'", o.status,
			      o.out.data, o.err.data);
		outcome_free(&o);
		snprintf(command, sizeof(command), "cd %s && mv disk.was disk && mv log.was r/log.partial", l.place.control.directory);
		ck_assert_int_eq(system(command), 0);
	}
	free(log);
	free(input);
	leave_ledger(&l);
}
END_TEST

static void assert_bad(const struct ledger *l, const char *command, const char *part)
{
	char line[400];
	struct outcome o;

	snprintf(line, sizeof(line), command, l->place.control.directory, l->place.control.directory);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, part, NULL, line);
	outcome_free(&o);
}

START_TEST(test_refusals)
{
	struct random r = random_start("refusals");
	struct ledger l = make_ledger(&r);
	struct child c = start_ledger(&l, 20, 2);
	char line[300];
	struct outcome o;

	while (!newest_checkpoint(l.checkpoints) && !child_has_ended(&c))
		child_linger(&c, 10);
	o = kill_now(&c);
	outcome_free(&o);
	snprintf(line, sizeof(line), "run --record %s/other @hello", l.place.control.directory);
	o = spawn_line(line, "");
	outcome_free(&o);
	assert_bad(&l, "restore --recording %s/other %s/c", "was not taken while the guest was recorded in");
	assert_bad(&l, "restore --recording %s/r %s/other/start", "was not taken while the guest was recorded in");
	assert_bad(&l, "restore --recording %s/none %s/c", "not a recording");
	assert_bad(&l, "restore --recording %s/r %s", "not a snapshot");
	assert_bad(&l, "clone --recording %s/r %s/c", "recording");
	leave_ledger(&l);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_killed, test_generations, test_noticed, test_ended, test_damaged, test_refusals};

	return RUN_TESTS("recovery", tests);
}
