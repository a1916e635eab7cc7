/*
 * Guests that report what they have freed: it is zero from then on and all else is as it was, whatever else is done with their pages; the
 * host has its memory back at once; and nothing that a driver does wrong ends anything but its device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/effort.h"
#include "tests/vm/round_trip.h"
#include "tests/vm/scavenged.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define SCAVENGE "--scavenge=cpu=100,idle=10,refaults=100000"
#define MANY 4096 /* pages, of the 16 MiB that a guest gives back */
#define MANY_KIB (MANY * 4)
#define LEAST_US 20000

START_TEST(test_hostile)
{
	static const char *const options[] = {"", SCAVENGE " ", "--hugepages=on --mem 3100M "};
	char line[200];
	struct outcome o;

	snprintf(line, sizeof(line), "run %s@report -- hostile", options[_i]);
	o = spawn_line(line, "");
	assert_outcome(&o, 0, "report: 24 hostile cases, 0 bad\n", line);
	outcome_free(&o);
}
END_TEST

/* The guest's end is its own. */
START_TEST(test_itself)
{
	static const char *const options[] = {"", SCAVENGE " "};
	char line[200];
	struct outcome o;

	snprintf(line, sizeof(line), "run %s@report -- give-all 1 40", options[_i]);
	o = spawn_line(line, "");
	assert_complaint(&o, 126, "triple fault", NULL, line);
	outcome_free(&o);
}
END_TEST

static json_int_t balloon(const struct place *p, const char *field)
{
	json_t *guests = ask_stats(p);
	json_int_t n = number_of(json_object_get(json_array_get(guests, 0), "balloon"), field);

	json_decref(guests);
	return n;
}

static void press_key(struct child *c, const char *answer)
{
	child_send(c, "x", 1);
	child_expect(c, answer);
}

static void end_well(struct child *c, const char *what)
{
	struct outcome o;

	press_key(c, "0 pages are wrong\n");
	o = child_end(c);
	ck_assert_msg(o.status == 0, "%s: status %d, complained '%s'", what, o.status, o.err.data);
	outcome_free(&o);
}

/* By the host's own account. The scavenger has nothing to do with it, and knows of it without a look: it looks once in an hour. */
START_TEST(test_given_back)
{
	static const char *const options[] = {"", "--scavenge=idle=3600000 ", "--hugepages=on "};
	struct place p = make_place();
	char words[200];
	struct child c;
	long before;

	snprintf(words, sizeof(words), "%s--mem 64M @report -- give 7 %d %d", options[_i], MANY, MANY);
	c = start_run(&p, words);
	child_expect(&c, "filled\n");
	if (_i == 1)
		await_scavenged(&p, "scanned", 64 << 8); /* it has seen every page */
	before = child_resident_kib(&c);
	press_key(&c, "given\n");
	ck_assert_int_eq(balloon(&p, "reported"), MANY);
	ck_assert_int_eq(balloon(&p, "given_back"), MANY);
	ck_assert_msg(child_resident_kib(&c) < before - MANY_KIB * 9 / 10, "%s: %ld KiB before, %ld after", words, before, child_resident_kib(&c));
	if (_i == 1)
		ck_assert_int_ge(scavenged(&p, "zero_kib"), MANY_KIB);
	if (_i == 1)
		ck_assert_int_eq(scavenged(&p, "reported"), MANY);
	end_well(&c, words);
	leave_place(&p);
}
END_TEST

static json_int_t away_kib(const struct place *p)
{
	return scavenged_equal_kib(p) + scavenged(p, "delta_kib") + scavenged(p, "compressed_kib");
}

/* Pages that the guest has several times, and some that have gone cold. */
START_TEST(test_shared)
{
	struct place p = make_place();
	char words[200];
	struct child c;

	snprintf(words, sizeof(words), SCAVENGE "%s --mem 64M @report -- give 7 %d %d", _i ? ",stages=same" : "", MANY / 4, MANY);
	c = start_run(&p, words);
	child_expect(&c, "filled\n");
	while (away_kib(&p) < MANY_KIB * 8 / 10)
		child_linger(&c, 50);
	ck_assert_int_gt(scavenged_equal_kib(&p), 0);
	press_key(&c, "given\n");
	ck_assert_int_eq(balloon(&p, "reported"), MANY);
	ck_assert_int_eq(balloon(&p, "given_back"), MANY);
	end_well(&c, words);
	leave_place(&p);
}
END_TEST

/* What a guest says, which has to be the same however its pages are kept. */
static char *said(const char *options)
{
	char line[300], *text;
	struct outcome o;

	snprintf(line, sizeof(line), "run %s@report -- random 11 %u 400 1", options, effort(96, 32));
	o = spawn_line(line, "");
	ck_assert_msg(o.status == 0, "%s: status %d, said '%s', complained '%s'", line, o.status, o.out.data, o.err.data);
	text = strdup(o.out.data);
	outcome_free(&o);
	return text;
}

START_TEST(test_random)
{
	static const char *const options[] = {SCAVENGE " ", SCAVENGE ",stages=same ", SCAVENGE ",stages=zero ", "--hugepages=on "};
	struct snapshot_place p = make_snapshot_place();
	char *plain = said(""), *other, checkpoints[200];

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		other = said(options[i]);
		ck_assert_str_eq(plain, other);
		free(other);
	}
	for (int i = 0; i < 2; i++) {
		snprintf(checkpoints, sizeof(checkpoints), "%s --checkpoint %s/c%d --checkpoint-every 20 ", i ? SCAVENGE : "",
			 p.control.directory, i);
		other = said(checkpoints + !i);
		ck_assert_str_eq(plain, other);
		free(other);
	}
	free(plain);
	leave_snapshot_place(&p);
}
END_TEST

/* Saved and restored by every way there is, in the other mode or the same. */
START_TEST(test_round_trips)
{
	static const struct trip_guest guests[] = {
		{.words = "--mem 16M @report -- random 3 64 300 1"},
		{.words = "--mem 16M @report -- random 5 64 300 1", .options = SCAVENGE " "},
	};
	struct random r = random_start("reported");
	unsigned int wanted = effort(8, 4), done = 0, tries = 0;
	uint64_t us, left;
	struct outcome whole = trip_whole(&guests[_i], &us, &r);

	for (left = us; done < wanted; tries++) {
		unsigned int n = trip(&guests[_i], &whole, 1 + (unsigned int)random_below(&r, 3), left / 2, &r);

		done += n;
		left = n || left < LEAST_US ? us : left / 2; /* it was faster: sooner */
		ck_assert_uint_lt(tries, 10 * wanted);
	}
	outcome_free(&whole);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("reported");

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, test_hostile, 0, 3);
	tcase_add_loop_test(tcase, test_itself, 0, 2);
	tcase_add_loop_test(tcase, test_given_back, 0, 3);
	tcase_add_loop_test(tcase, test_shared, 0, 2);
	tcase_add_test(tcase, test_random);
	tcase_add_loop_test(tcase, test_round_trips, 0, 2);
	return run_case("reported", tcase);
}
