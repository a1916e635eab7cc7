/* The pace in simulated time: threads that work as long as they may, guests that bring back what they need. */
#include "dedup/pace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

/* Stretches of work, one after the other. */
struct work {
	uint64_t start_ns, cpu_before, cpu_ns;
};

#define WORKS 200000u

static struct work work[WORKS];

/* What was used in any second that begins with a stretch of work. */
static uint64_t most_in_a_second(unsigned int works)
{
	uint64_t most = 0;

	for (unsigned int i = 0, j = 0; i < works; i++) {
		uint64_t used;

		while (j < works && work[j].start_ns < work[i].start_ns + SECOND)
			j++;
		used = work[j - 1].cpu_before + work[j - 1].cpu_ns - work[i].cpu_before;
		most = used > most ? used : most;
	}
	return most;
}

/* Stretches of at most `longest`, in which the thread does not always have its processor, and rests that may last too long. */
static void keeps_share(struct random *r, unsigned int percent, uint64_t longest, bool late)
{
	uint64_t wall = random_next(r) >> 4, cpu = random_next(r) >> 4, start = wall, start_cpu = cpu, most;
	unsigned int works = 0, rests = 0;
	double share = percent / 100., used;
	struct pace_cpu p;

	pace_cpu_init(&p, percent, wall, cpu);
	while (works < WORKS && wall - start < 60 * SECOND) {
		uint64_t rest = pace_cpu_rest(&p, wall, cpu), stretch = 1 + random_below(r, longest);

		expect(rest <= PACE_CPU_REST_MOST);
		if (rest) {
			wall += rest + (late ? random_below(r, 5 * MS) : 0);
			rests++;
			continue;
		}
		work[works++] = (struct work){.start_ns = wall, .cpu_before = cpu, .cpu_ns = stretch};
		cpu += stretch;
		wall += stretch + (late && random_below(r, 10) == 0 ? random_below(r, MS) : 0);
	}
	used = (double)(cpu - start_cpu) / (double)(wall - start);
	most = most_in_a_second(works);
	expect_msg(used <= share + (double)longest / (double)(wall - start), "%g used of %g", used, share);
	expect_msg((double)most <= 1.1 * share * SECOND + (double)longest + 2, "%" PRIu64 " ns in a second of %u%%", most,
		   percent);
	/* Nor less: what a late rest costs is made up for as far as it can be saved. */
	expect_msg(works == WORKS || used >= share * .97, "%g used of %g", used, share);
	/* Not many little rests. */
	expect_msg(rests <= (wall - start) / (PACE_CPU_SAVED / 4) + 10, "%u rests", rests);
}

START_TEST(cpu_share)
{
	struct random r = random_start("dedup_pace");
	static const unsigned int percents[] = {1, 2, 5, 20, 50, 90};

	for (unsigned int i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
		for (int late = 0; late < 2; late++) {
			keeps_share(&r, percents[i], 20000, late);
			keeps_share(&r, percents[i], MS, late);
			keeps_share(&r, percents[i], 30 * MS, late);
		}
	}
}
END_TEST

START_TEST(cpu_all_or_nothing)
{
	struct pace_cpu none, all;
	uint64_t wall = 5, cpu = 7;

	pace_cpu_init(&none, 0, wall, cpu);
	pace_cpu_init(&all, 100, wall, cpu);
	for (int i = 0; i < 10000; i++) {
		expect_eq(pace_cpu_rest(&none, wall, cpu), PACE_CPU_REST_MOST);
		expect_eq(pace_cpu_rest(&all, wall, cpu), 0);
		wall += MS;
		cpu += MS;
	}
}
END_TEST

/* A debt is paid in full, in rests that are not too long; idleness is saved up only to a small amount. */
START_TEST(cpu_debt)
{
	struct pace_cpu p;
	uint64_t rested = 0, rest, used = 0;

	pace_cpu_init(&p, 20, 0, 0);
	while ((rest = pace_cpu_rest(&p, 10 * SECOND + rested, 10 * SECOND)))
		rested += rest;
	/* All of it was used in the first ten seconds, of which a tenth of one could be saved. */
	expect_msg(rested >= 50 * SECOND - PACE_CPU_SAVED && rested <= 50 * SECOND, "rested %" PRIu64, rested);
	while (!pace_cpu_rest(&p, 3600 * SECOND, 10 * SECOND + used))
		used += 10000;
	expect_msg(used <= PACE_CPU_SAVED / 5 + 10000, "%" PRIu64 " ns at once", used);
}
END_TEST

/* After whatever the clocks have shown, it goes on, at the latest when a debt of a minute is paid. */
START_TEST(cpu_extremes)
{
	struct random r = random_start("dedup_pace");
	static const uint64_t odd[] = {0, 1, SECOND, INT64_MAX, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};

	for (int round = 0; round < 20000; round++) {
		unsigned int percent = (unsigned int)(random_below(&r, 2) ? 1 + random_below(&r, 200) : random_next(&r));
		struct pace_cpu p;
		uint64_t wall = 0, cpu = 0, rested = 0, rest;

		pace_cpu_init(&p, percent, odd[random_below(&r, 7)], odd[random_below(&r, 7)]);
		for (int i = 0; i < 20; i++) {
			wall = random_below(&r, 2) ? odd[random_below(&r, 7)] : random_next(&r) >> random_below(&r, 64);
			cpu = random_below(&r, 2) ? odd[random_below(&r, 7)] : random_next(&r) >> random_below(&r, 64);
			expect(pace_cpu_rest(&p, wall, cpu) <= PACE_CPU_REST_MOST);
		}
		wall >>= 1;
		while (percent && (rest = pace_cpu_rest(&p, wall += 1, cpu))) {
			wall += rest;
			rested += rest;
			expect(rested <= 6002 * SECOND);
		}
	}
}
END_TEST

/* A guest of pages without end: `share` of what it loses it brings back, after a delay of a tenth of a second on average. */
#define STEPS_AHEAD 4096u

struct guest {
	struct pace_cold pace;
	struct random *random;
	double share;
	uint64_t wall_ns, step_ns, refaults, evicted;
	unsigned int due[STEPS_AHEAD], step;
};

static double uniform(struct random *r)
{
	return (double)((random_next(r) >> 11) + 1) / (double)(1ull << 53);
}

static void lose_page(struct guest *g)
{
	double delay = -log(uniform(g->random)) * .1 * SECOND;
	uint64_t steps = 1 + (uint64_t)(delay / (double)g->step_ns);

	if (uniform(g->random) <= g->share && steps < STEPS_AHEAD)
		g->due[(g->step + steps) % STEPS_AHEAD]++;
}

static void guest_start(struct guest *g, struct random *r, unsigned int target, double share, uint64_t step_ns)
{
	*g = (struct guest){.random = r, .share = share, .step_ns = step_ns};
	g->wall_ns = random_next(r) >> 8;
	g->refaults = random_next(r) >> 8;
	pace_cold_init(&g->pace, target, g->wall_ns, g->refaults);
}

/* Besides what it lost it brings back `more` pages a second that it lost before. */
static void guest_run(struct guest *g, uint64_t ns, uint64_t more)
{
	for (uint64_t end = g->wall_ns + ns; g->wall_ns < end;) {
		unsigned int *due = &g->due[++g->step % STEPS_AHEAD], pages;

		g->wall_ns += g->step_ns;
		g->refaults += *due + more * g->step_ns / SECOND;
		*due = 0;
		pages = pace_cold_allowance(&g->pace, g->wall_ns, g->refaults);
		g->evicted += pages;
		while (pages-- > 0)
			lose_page(g);
	}
}

/* Refaults, or evictions, a second. */
static double rate_of(struct guest *g, const uint64_t *count, uint64_t seconds)
{
	uint64_t before = *count;

	guest_run(g, seconds * SECOND, 0);
	return (double)(*count - before) / (double)seconds;
}

START_TEST(cold_meets_target)
{
	struct random r = random_start("dedup_pace");
	static const unsigned int targets[] = {5, 50, 500};
	static const double shares[] = {1, .3, .03, .003};
	static const uint64_t steps[] = {5 * MS, 30 * MS, 100 * MS};

	for (unsigned int i = 0; i < 36; i++) {
		unsigned int target = targets[i % 3];
		double share = shares[i / 3 % 4], ceiling = 131072 * share, expected = target < ceiling ? target : ceiling, rate;
		static struct guest g;

		guest_start(&g, &r, target, share, steps[i / 12]);
		guest_run(&g, 20 * SECOND, 0);
		rate = rate_of(&g, &g.refaults, 200);
		printf("target %u, %g brought back, looked at every %g ms: %.1f refaults a second\n", target, share,
		       (double)g.step_ns / MS, rate);
		expect_msg(rate >= .8 * expected && rate <= 1.2 * expected, "%g refaults a second for %g", rate, expected);
	}
}
END_TEST

/* An idle guest loses half a GiB within seconds; one that needs all its pages loses few before that is noticed. */
START_TEST(cold_start)
{
	struct random r = random_start("dedup_pace");
	static struct guest g;

	guest_start(&g, &r, 50, 0, 20 * MS);
	guest_run(&g, 5 * SECOND, 0);
	printf("idle: %" PRIu64 " pages in five seconds\n", g.evicted);
	expect(g.evicted >= 131072);
	guest_start(&g, &r, 50, 1, 20 * MS);
	guest_run(&g, 5 * SECOND, 0);
	printf("busy: %" PRIu64 " pages in five seconds, %" PRIu64 " a second then\n", g.evicted, (uint64_t)g.pace.rate);
	expect(g.evicted <= 2000);
}
END_TEST

START_TEST(cold_storm)
{
	struct random r = random_start("dedup_pace");

	for (int round = 0; round < 10; round++) {
		static struct guest g;
		double before, in, after;

		guest_start(&g, &r, 50, .002, 20 * MS);
		guest_run(&g, 20 * SECOND, 0);
		before = rate_of(&g, &g.evicted, 20);
		/* It wakes up, and wants it all back. */
		guest_run(&g, 2 * SECOND, 20000);
		in = g.pace.rate;
		guest_run(&g, 8 * SECOND, 20000);
		expect_msg(in <= 50 && g.pace.rate <= 50 && g.pace.rate >= 1, "%g, then %g a second", in, g.pace.rate);
		guest_run(&g, 20 * SECOND, 0);
		after = rate_of(&g, &g.evicted, 20);
		expect_msg(after >= before / 2, "%g a second, %g before", after, before);
	}
}
END_TEST

/* What is due comes, in whole pages, however short the time between two looks; but not for a time in which nobody looked. */
START_TEST(cold_carry)
{
	struct pace_cold p;
	unsigned int pages = 0;

	pace_cold_init(&p, 50, 0, 0);
	p.rate = p.cut_rate = 100;
	p.halved = true;
	for (uint64_t us = 1; us <= 1000000; us++)
		pages += pace_cold_allowance(&p, us * 1000, 0);
	expect_msg(pages >= 100 && pages <= 150, "%u pages", pages);
	expect(pace_cold_allowance(&p, 3600 * SECOND, 0) <= 300);
}
END_TEST

/* It goes on being steered when a clock has gone back by a day. */
START_TEST(cold_clock_back)
{
	struct random r = random_start("dedup_pace");
	static struct guest g;
	double rate;

	guest_start(&g, &r, 50, .1, 20 * MS);
	g.wall_ns += 2 * 86400 * SECOND;
	guest_run(&g, 20 * SECOND, 0);
	g.wall_ns -= 86400 * SECOND;
	guest_run(&g, 2 * SECOND, 20000);
	expect_msg(g.pace.rate <= 50, "%g a second", g.pace.rate);
	guest_run(&g, 20 * SECOND, 0);
	rate = rate_of(&g, &g.refaults, 60);
	expect_msg(rate >= 35 && rate <= 65, "%g refaults a second", rate);
}
END_TEST

/* A rate that was never used is not believed in. */
START_TEST(cold_unused)
{
	struct pace_cold p;
	double start;

	pace_cold_init(&p, 50, 0, 0);
	start = p.rate;
	for (uint64_t ms = 20; ms < 60000; ms += 20) {
		unsigned int pages = pace_cold_allowance(&p, ms * MS, 0);

		expect(p.rate <= start * 1.2);
		pace_cold_unused(&p, pages - pages / 4);
	}
	for (uint64_t ms = 60000; ms < 61000; ms += 20)
		pace_cold_unused(&p, pace_cold_allowance(&p, ms * MS, 0) / 4);
	expect_msg(p.rate >= start * 10, "%g a second", p.rate);
}
END_TEST

START_TEST(cold_extremes)
{
	struct random r = random_start("dedup_pace");
	static const uint64_t odd[] = {0, 1, SECOND, INT64_MAX, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
	static const unsigned int targets[] = {0, 1, 50, 1u << 31, UINT32_MAX};

	for (int round = 0; round < 20000; round++) {
		struct pace_cold p;
		uint64_t wall = 0, refaults = 0, pages = 0;

		pace_cold_init(&p, targets[random_below(&r, 5)], odd[random_below(&r, 7)], odd[random_below(&r, 7)]);
		for (int i = 0; i < 20; i++) {
			wall = random_below(&r, 2) ? odd[random_below(&r, 7)] : random_next(&r) >> random_below(&r, 64);
			refaults = random_below(&r, 2) ? odd[random_below(&r, 7)] : random_next(&r) >> random_below(&r, 64);
			expect(pace_cold_allowance(&p, wall, refaults) <= 131073);
			expect(isfinite(p.rate) && p.rate >= 1 && p.carry >= 0 && p.carry < 1);
		}
		/* And it goes on, as soon as time does. */
		wall >>= 1;
		for (int i = 0; i < 100; i++)
			pages += pace_cold_allowance(&p, wall += 100 * MS, refaults);
		expect_msg(pages >= 8, "%" PRIu64 " pages in ten seconds", pages);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dedup_pace");
	TCase *tcase = tcase_create("dedup_pace");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, cpu_share);
	tcase_add_test(tcase, cpu_all_or_nothing);
	tcase_add_test(tcase, cpu_debt);
	tcase_add_test(tcase, cpu_extremes);
	tcase_add_test(tcase, cold_meets_target);
	tcase_add_test(tcase, cold_start);
	tcase_add_test(tcase, cold_storm);
	tcase_add_test(tcase, cold_carry);
	tcase_add_test(tcase, cold_clock_back);
	tcase_add_test(tcase, cold_unused);
	tcase_add_test(tcase, cold_extremes);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
