/*
 * The scavenger as users have it: each of its stages saves what the guests were made of, and nothing else; it goes on and rests
 * when it is told; only guests of one group share; and what makes no sense is refused.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/scavenged.h"
#include "tests/vm/suite.h"

#define KIB 4 /* of a page */
#define GUESTS 2
#define N 800 /* pages of a kind and guest */
#define GROUP 16
#define MIB 16 /* of a guest; that is little more than its pages, for the others may be zero, too */
#define OTHERS_KIB (GUESTS * (MIB * 1024 - (4 * N + 208) * KIB))

#define QUICK "cpu=100,idle=50,refaults=100000"
#define MIX                                                                                                                       \
	"--mem 16M @memory -- " MEMORY_NOTHING                                                                                    \
	"zero=800 twin=800 similar=800 text=800 unique=200 hot=8 group=16 verify=0 rounds=0 report=1000000 pause=1"

/* So much of it at least, and nothing that was not there. */
static void assert_kib(const char *what, json_int_t kib, double pages, double least)
{
	double all = pages * KIB;

	ck_assert_msg((double)kib >= least * all && (double)kib <= all + OTHERS_KIB, "%s: %lld KiB, of %.0f", what, (long long)kib, all);
}

struct stage {
	const char *name;
	double equal, deltas, compressed; /* pages that it may find */
	double least_saved;		  /* pages */
};

/* One of each pair of twins stays, and of each base a page that the others are compared with. */
#define DELTAS (GUESTS * N - N / GROUP)
static const struct stage stages[] = {
	{"zero", 0, 0, 0, .9 * GUESTS * N},
	{"same", GUESTS * N, 0, 0, .9 * (GUESTS * N + N)},
	{"delta", GUESTS * N, DELTAS, 0, .9 * (GUESTS * N + N) + .8 * .9 * DELTAS},
	{"compress", GUESTS * N, DELTAS, GUESTS * N, .9 * (GUESTS * N + N) + .8 * .9 * DELTAS + .8 * .5 * GUESTS * N},
};

START_TEST(test_stages)
{
	const struct stage *s = &stages[_i];
	struct place p = make_place();
	char words[300];
	struct child c;

	snprintf(words, sizeof(words), "--count %d --scavenge=" QUICK ",stages=%s " MIX, GUESTS, s->name);
	c = start_scavenged(&p, words, GUESTS);
	await_scavenged_all(&p, (json_int_t)(s->least_saved * KIB));
	assert_kib("zero", scavenged(&p, "zero_kib"), GUESTS * N, .9);
	assert_kib("equal", scavenged_equal_kib(&p), s->equal + (s->deltas > 0 ? N : 0), s->equal > 0 ? .6 : 0);
	assert_kib("deltas", scavenged(&p, "delta_kib"), s->deltas, .8);
	assert_kib("compressed", scavenged(&p, "compressed_kib"), s->compressed, .8);
	if (s->equal == 0)
		ck_assert_int_eq(scavenged_equal_kib(&p), 0);
	if (s->deltas == 0)
		ck_assert_int_eq(scavenged(&p, "delta_kib"), 0);
	if (s->compressed == 0)
		ck_assert_int_eq(scavenged(&p, "compressed_kib"), 0);
	end_scavenged(&p, &c, s->name);
	leave_place(&p);
}
END_TEST

/* How much of what all guests have alike is shared by guests that are dealt out to these groups. */
static json_int_t equal_in_groups(const char *groups, unsigned int count)
{
	struct place p = make_place();
	char words[300];
	json_int_t equal;
	struct child c;

	snprintf(words, sizeof(words),
		 "--count %u --mem 8M --share-group %s --scavenge=" QUICK ",stages=same @memory -- " MEMORY_NOTHING
		 "twin=500 zero=500 verify=0 rounds=0 report=1000000 pause=1",
		 count, groups);
	c = start_scavenged(&p, words, count);
	await_scavenged_all(&p, count * 450 * KIB);
	equal = scavenged_equal_kib(&p);
	end_scavenged(&p, &c, groups);
	leave_place(&p);
	return equal;
}

START_TEST(test_groups)
{
	json_int_t alone = equal_in_groups("each", 2);

	ck_assert_msg(alone < 250 * KIB, "each: %lld KiB", (long long)alone);
	alone = equal_in_groups("red,blue", 2);
	ck_assert_msg(alone < 250 * KIB, "red,blue: %lld KiB", (long long)alone);
	assert_kib("one", equal_in_groups("red", 2), 1000, .9);
	assert_kib("two", equal_in_groups("red,blue", 4), 2000, .9);
}
END_TEST

static void assert_state(const struct place *p, const char *state)
{
	json_t *guests = ask_stats(p);
	const json_t *s = json_object_get(json_array_get(guests, 0), "scavenger");

	ck_assert_str_eq(json_string_value(json_object_get(s, "state")), state);
	json_decref(guests);
}

START_TEST(test_on_and_off)
{
	struct place p = make_place();
	struct child c = start_scavenged(&p, "--scavenge=off," QUICK " " MIX, 1);
	json_int_t scanned, zero;

	usleep(500000);
	assert_state(&p, "off");
	ck_assert_int_eq(scavenged(&p, "scanned"), 0);
	for (int i = 0; i < 3; i++) {
		assert_ctl(&p, "scavenge on", "");
		assert_state(&p, "on");
		await_scavenged_all(&p, N * KIB * 9 / 10);
		assert_ctl(&p, "scavenge off", "");
		assert_state(&p, "off");
		usleep(200000); /* what it was about */
		scanned = scavenged(&p, "scanned");
		zero = scavenged(&p, "zero_kib");
		usleep(300000);
		ck_assert_int_eq(scavenged(&p, "scanned"), scanned);
		ck_assert_int_eq(scavenged(&p, "zero_kib"), zero);
	}
	assert_ctl_refused(p.path, "scavenge maybe", p.path, NULL);
	assert_ctl_refused(p.path, "scavenge", p.path, NULL);
	end_scavenged(&p, &c, "on and off");
	c = start_run(&p, "@clock -- 1000000000");
	assert_ctl_refused(p.path, "scavenge on", p.path, "scavenge");
	quit(&p, &c, "no scavenger");
	leave_place(&p);
}
END_TEST

START_TEST(test_bad_input)
{
	static const char *const bad[] = {
		"--scavenge=", "--scavenge=nonsense", "--scavenge=stages=all", "--scavenge=stages", "--scavenge=cpu=0",
		"--scavenge=cpu=101", "--scavenge=cpu=-1", "--scavenge=refaults=many", "--scavenge=idle=", "--scavenge=memory=0",
		"--scavenge=memory=lots", "--scavenge=cpu=20,", "--scavenge=,cpu=20", "--scavenge=cpu=20;idle=5", "--scavenge=offf",
		"--share-group=", "--share-group=a,,b", "--share-group=a/b", "--share-group=each,a",
		"--share-group=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char line[200];
		struct outcome o;

		snprintf(line, sizeof(line), "run %s @hello", bad[i]);
		o = spawn_line(line, NULL);
		assert_complaint(&o, 125, bad[i][3] == 'c' ? "--scavenge" : "--share-group", NULL, line);
		ck_assert_uint_eq(o.out.size, 0);
		outcome_free(&o);
	}
}
END_TEST

/* Guests that could not be kept if all of their RAM were written are not begun. */
START_TEST(test_too_much)
{
	struct outcome o = spawn_line("run --mem 64M --scavenge=memory=32M @hello", NULL);

	assert_complaint(&o, 125, "64 MiB might not be kept", "memory=SIZE", "too much");
	outcome_free(&o);
}
END_TEST

/* With a scavenger that does all it can guests say what they say without. */
START_TEST(test_not_felt)
{
	static const char *const guests[] = {
		("--mem 24M @memory -- zero=100 dup=300 similar=300 twin=100 text=300 unique=300 hot=40 cold=100 churn=50 seed=3 "
		 "rounds=60 pause=1 verify=7 group=16"),
		"--mem 16M @procs -- 4", "@clock -- 80", "@compute -- sse 6", "@accesses -- 10",
	};

	for (size_t i = 0; i < sizeof(guests) / sizeof(*guests); i++) {
		char line[400];
		struct outcome whole, o;

		snprintf(line, sizeof(line), "run %s", guests[i]);
		whole = spawn_line(line, "");
		ck_assert_int_eq(whole.status, 0);
		snprintf(line, sizeof(line), "run --scavenge=cpu=100,idle=10,refaults=100000 %s", guests[i]);
		o = spawn_line(line, "");
		assert_outcome(&o, 0, whole.out.data, line);
		ck_assert_msg(!o.err.size, "%s: '%s'", line, o.err.data);
		outcome_free(&o);
		outcome_free(&whole);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenge");

	tcase_add_loop_test(tcase, test_stages, 0, sizeof(stages) / sizeof(*stages));
	tcase_add_test(tcase, test_groups);
	tcase_add_test(tcase, test_on_and_off);
	tcase_add_test(tcase, test_bad_input);
	tcase_add_test(tcase, test_too_much);
	tcase_add_test(tcase, test_not_felt);
	tcase_set_timeout(tcase, 0);
	return run_case("scavenge", tcase);
}
