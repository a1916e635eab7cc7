/*
 * Guests that are saved while the scavenger is at their pages, which are in every state by then, and go on in another process and
 * the other mode, by each way there is, under a scavenger again: they say what they would have said without any of that.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/vm/effort.h"
#include "tests/vm/round_trip.h"
#include "tests/vm/suite.h"

#define LEAST_US 20000

static const struct trip_guest guests[] = {
	{.words = "--mem 16M @memory -- zero=200 dup=200 similar=300 twin=100 text=300 unique=100 hot=20 cold=100 churn=40 read=20 "
		  "seed=7 group=16 verify=4 rounds=40 pause=2",
	 .options = "--scavenge=cpu=100,idle=10,refaults=100000 "},
	{.words = "--mem 16M @memory -- zero=1000 dup=600 similar=600 text=200 unique=50 hot=5 cold=500 seed=9 group=8 verify=20 rounds=40 "
		  "pause=2",
	 .options = "--scavenge=cpu=100,idle=10,refaults=100000,stages=delta "},
	{.words = "@procs -- 6", .options = "--scavenge=cpu=100,idle=2,refaults=100000 "},
};

#define GUESTS (sizeof(guests) / sizeof(*guests))

START_TEST(test_round_trips)
{
	struct random r = random_start("scavenge_roundtrips");
	unsigned int wanted = (is_long() ? 200 : 20) / GUESTS + 1, done = 0, tries = 0;
	const struct trip_guest *g = &guests[_i];
	uint64_t us, left;
	struct outcome whole = trip_whole(g, &us, &r);

	for (left = us; done < wanted; tries++) {
		unsigned int n = trip(g, &whole, 1 + (unsigned int)random_below(&r, 4), left / 2, &r);

		done += n;
		left = n || left < LEAST_US ? us : left / 2; /* it was faster: sooner */
		ck_assert_uint_lt(tries, 10 * wanted);
	}
	printf("scavenge_roundtrips: %.30s: %u in %u tries\n", g->words, done, tries);
	outcome_free(&whole);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("scavenge_roundtrips");

	tcase_add_loop_test(tcase, test_round_trips, 0, GUESTS);
	tcase_set_timeout(tcase, 0);
	return run_case("scavenge_roundtrips", tcase);
}
