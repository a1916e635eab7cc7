/*
 * Guests that share nearly all they have, and then write all of it at once. Where there is memory for that they notice nothing;
 * where there is not, they stand still before it runs out, and it is said why: nothing is lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/effort.h"
#include "tests/vm/scavenged.h"
#include "tests/vm/suite.h"

#define GUESTS 3
#define PAGES 5800 /* of a guest */
#define MIB_OF_PAGES (GUESTS * PAGES / 256)
#define KIB 4
#define SHARED "zero=1400 dup=1400 twin=1400 similar=800 text=800 group=16 verify=0 report=1000000 rounds=2 "
#define QUICK "cpu=100,idle=50,refaults=100000"

/* Time for the scavenger to share everything, in ticks of the guest's timer, 10 ms. */
static unsigned int calm_ticks(void)
{
	return in_lab() ? 2500 : 600;
}

struct storm {
	struct place place;
	struct child child;
};

static struct storm start(const char *memory, const char *how)
{
	struct storm s = {.place = make_place()};
	char words[400];

	snprintf(words, sizeof(words), "--count %d --mem 28M --scavenge=" QUICK "%s @memory -- " MEMORY_NOTHING SHARED "pause=%u %s", GUESTS,
		 memory, calm_ticks(), how);
	s.child = start_scavenged(&s.place, words, GUESTS);
	return s;
}

/* Until most of it is saved, well before the storm. */
static void await_calm(struct storm *s)
{
	await_scavenged(&s->place, "saved_kib", GUESTS * PAGES * KIB / 2);
	printf("storm: saved %lld KiB of %d before\n", (long long)scavenged(&s->place, "saved_kib"), GUESTS * PAGES * KIB);
}

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		n++;
	return n;
}

static void assert_all_good(const struct outcome *o, const char *what)
{
	ck_assert_msg(o->status == 0 && count(o->out.data, "memory: all good\n") == GUESTS, "%s: status %d, '%s', '%s'", what, o->status,
		      o->out.data, o->err.data);
}

/* With room for all of it. */
START_TEST(test_room)
{
	static const char *const how[] = {"storm=1", "storm=2"};
	struct storm s = start("", how[_i]);
	struct outcome o;

	await_calm(&s);
	o = child_end(&s.child);
	assert_all_good(&o, how[_i]);
	ck_assert_msg(!o.err.size, "'%s'", o.err.data);
	outcome_free(&o);
	leave_place(&s.place);
}
END_TEST

/* Hardly: what is written becomes a little different from what it was, so that it can be put away again. */
START_TEST(test_hardly)
{
	char memory[40];
	struct storm s;
	struct outcome o;

	snprintf(memory, sizeof(memory), ",memory=%dM", MIB_OF_PAGES * 3 / 2);
	s = start(memory, "storm=1");
	await_calm(&s);
	o = child_end(&s.child);
	assert_all_good(&o, "hardly");
	outcome_free(&o);
	leave_place(&s.place);
}
END_TEST

static double resident_mib(pid_t pid)
{
	char path[40];
	unsigned long pages = 0, shared = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "r");
	ck_assert(f && fscanf(f, "%*u %lu %lu", &pages, &shared) == 2);
	fclose(f);
	return (double)(pages - shared) / 256;
}

/* Bytes that nothing makes smaller, more than there may be: all stand still, none is ended, and the operator is told what to do. */
START_TEST(test_too_much)
{
	int most = MIB_OF_PAGES * 7 / 10;
	char memory[40];
	size_t before;
	struct storm s;
	struct outcome o;

	snprintf(memory, sizeof(memory), ",memory=%dM", most);
	s = start(memory, "storm=2");
	await_calm(&s);
	child_linger(&s.child, 1);
	before = s.child.complained.size; /* they were told to stand still while they filled their pages */
	while (!strstr(s.child.complained.data + before, "stand still until there is room")) {
		ck_assert_msg(!child_has_ended(&s.child), "the guests have ended");
		child_linger(&s.child, 20);
	}
	child_linger(&s.child, 1000);
	printf("storm: %.0f MiB of %d; '%s'\n", resident_mib(s.child.pid), most, s.child.complained.data + before);
	ck_assert_msg(!child_has_ended(&s.child) && !count(s.child.said.data, "memory: kind"), "'%s'", s.child.said.data);
	ck_assert_msg(resident_mib(s.child.pid) <= most, "%.0f MiB of %d", resident_mib(s.child.pid), most);
	ck_assert_msg(strstr(s.child.complained.data, "memory=SIZE"), "'%s'", s.child.complained.data);
	ask_ok(&s.place, "quit");
	o = child_end(&s.child);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	leave_place(&s.place);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenge_storm");

	tcase_add_loop_test(tcase, test_room, 0, 2);
	tcase_add_test(tcase, test_hardly);
	tcase_add_test(tcase, test_too_much);
	tcase_set_timeout(tcase, 0);
	return run_case("scavenge_storm", tcase);
}
