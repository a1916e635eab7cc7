/*
 * What is said of two columns. The oracle takes the definition by its word: ratios instead of logarithms, all 2^n falls of n
 * coins instead of a formula. Whether the rule is a good one is seen from columns made up with a known ratio and known noise.
 */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "compare/verdict.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define MOST 50
#define TINY 1e-12

struct pair {
	double a[MOST], b[MOST];
	unsigned int n, m;
};

static double random_unit(struct random *r)
{
	return ((double)(random_next(r) >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller's way to the normal distribution. */
static double random_normal(struct random *r)
{
	return sqrt(-2 * log(random_unit(r))) * cos(2 * M_PI * random_unit(r));
}

/* Columns whose times have this ratio, and noise of so much (0.1: ten percent). */
static struct pair make_pair(struct random *r, unsigned int n, double ratio, double noise)
{
	struct pair p = {.n = n, .m = n};
	double mood = exp(random_normal(r) * 3);

	for (unsigned int i = 0; i < n; i++) {
		p.a[i] = mood * ratio * exp(random_normal(r) * noise);
		p.b[i] = mood * exp(random_normal(r) * noise);
	}
	return p;
}

static struct cell cell_of(double *values, unsigned int n)
{
	return (struct cell){.kind = CELL_MEASURED, .us = {.n = n, .value = values}};
}

static struct verdict judge(struct pair *p)
{
	struct cell a = cell_of(p->a, p->n), b = cell_of(p->b, p->m);

	return verdict_of(&a, &b);
}

/* The ratio without a verdict. */
static double ratio_alone(struct pair *p)
{
	struct samples a = {p->n, p->a}, b = {p->m, p->b};
	double room[MOST];

	return ratio_of_neighbours(&a, &b, room);
}

static struct verdict judge_exchanged(struct pair *p)
{
	struct cell a = cell_of(p->a, p->n), b = cell_of(p->b, p->m);

	return verdict_of(&b, &a);
}

/* Chances of n coins in 2^n to show fewer than `faces` heads. */
static double chances_below(unsigned int n, unsigned int faces)
{
	unsigned int falls = 0;

	for (uint32_t coins = 0; coins < 1u << n; coins++)
		falls += (unsigned int)__builtin_popcount(coins) < faces;
	return (double)falls / (1u << n);
}

/* The largest number to leave out, if all numbers are tried. */
static unsigned int left_out_by_trial(unsigned int n)
{
	unsigned int best = 0;

	for (unsigned int out = 1; 2 * out < n; out++)
		if (1 - 2 * chances_below(n, out + 1) >= 0.9)
			best = out;
	return best;
}

START_TEST(test_left_out)
{
	static const struct {
		unsigned int n, out;
	} told[] = {{1, 0}, {5, 0}, {7, 0}, {8, 1}, {10, 1}, {11, 2}, {50, 18}}; /* as the header says */

	for (unsigned int n = 1; n <= 18; n++)
		expect_eq(verdict_left_out(n), left_out_by_trial(n));
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		expect_eq(verdict_left_out(told[i].n), told[i].out);
	for (unsigned int n = 1; n <= COMPARISON_MAX_SAMPLES; n++)
		expect(2 * verdict_left_out(n) < n);
}
END_TEST

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* How far from 1, as a factor. */
static double factor(double ratio)
{
	return ratio < 1 ? 1 / ratio : ratio;
}

static struct verdict naive_verdict(const struct pair *p)
{
	unsigned int n = p->n < p->m ? p->n : p->m, out = n <= 18 ? left_out_by_trial(n) : verdict_left_out(n);
	double ratio[MOST];
	struct verdict v;

	for (unsigned int i = 0; i < n; i++)
		ratio[i] = p->a[i] / p->b[i];
	qsort(ratio, n, sizeof(*ratio), by_value);
	v.ratio = n % 2 ? ratio[n / 2] : sqrt(ratio[n / 2] * ratio[n / 2 - 1]);
	v.low = ratio[out];
	v.high = ratio[n - 1 - out];
	v.kind = VERDICT_NOISE;
	if (factor(v.low) < 1.1 && factor(v.high) < 1.1)
		v.kind = VERDICT_SAME;
	if ((v.low > 1.02 || v.high < 1 / 1.02) && v.high / v.low < factor(v.ratio))
		v.kind = VERDICT_DIFFERS;
	if (n < 4)
		v.kind = VERDICT_NOISE;
	return v;
}

static bool close_to(double a, double b)
{
	return fabs(a / b - 1) < TINY;
}

static struct pair any_pair(struct random *r)
{
	static const double ratios[] = {1, 1.01, 1.03, 1.1, 1.5, 3, 40}, noises[] = {0, 0.001, 0.01, 0.05, 0.2, 1};
	double ratio = ratios[random_below(r, 7)];
	struct pair p = make_pair(r, 1 + (unsigned int)random_below(r, MOST), random_below(r, 2) ? ratio : 1 / ratio,
				  noises[random_below(r, 6)]);

	if (random_below(r, 4) == 0)
		p.m = 1 + (unsigned int)random_below(r, MOST);
	for (unsigned int i = p.n; i < p.m; i++)
		p.b[i] = 1;
	return p;
}

/* A value at the very edge of a rule may fall to either side of it by rounding. */
static bool at_an_edge(const struct verdict *v)
{
	const double edges[] = {v->high / v->low / factor(v->ratio), factor(v->low) / 1.02, factor(v->high) / 1.02,
				factor(v->low) / 1.1, factor(v->high) / 1.1};

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		if (fabs(edges[i] - 1) < 1e-9)
			return true;
	return false;
}

START_TEST(test_against_the_oracle)
{
	struct random r = random_start("verdict oracle");
	unsigned int kinds[VERDICT_DIFFERS + 1] = {0};

	for (int i = 0; i < 4000; i++) {
		struct pair p = any_pair(&r);
		struct verdict v = judge(&p), naive = naive_verdict(&p);

		expect(close_to(ratio_alone(&p), naive.ratio));
		expect(close_to(v.ratio, naive.ratio) && close_to(v.low, naive.low) && close_to(v.high, naive.high));
		expect_msg(v.kind == naive.kind || at_an_edge(&naive), "%s, not %s: %g (%g to %g)", verdict_name(v.kind),
			   verdict_name(naive.kind), naive.ratio, naive.low, naive.high);
		kinds[v.kind]++;
	}
	/* Each kind was among them. */
	expect(kinds[VERDICT_NOISE] > 100 && kinds[VERDICT_SAME] > 100 && kinds[VERDICT_DIFFERS] > 100);
}
END_TEST

/* Bit by bit: what is above 1 from one side is the inverse, as the machine divides, from the other. */
static bool is_inverse(double x, double y)
{
	return x >= 1 ? y == 1 / x : x == 1 / y;
}

START_TEST(test_exchange)
{
	struct random r = random_start("verdict exchange");

	for (int i = 0; i < 20000; i++) {
		struct pair p = any_pair(&r);
		struct verdict v = judge(&p), w = judge_exchanged(&p);

		expect_eq(v.kind, w.kind);
		expect_msg(is_inverse(v.ratio, w.ratio), "%.17g and %.17g", v.ratio, w.ratio);
		expect(is_inverse(v.low, w.high) && is_inverse(v.high, w.low));
		expect(v.low <= v.ratio && v.ratio <= v.high);
	}
}
END_TEST

/* How many of a thousand made-up comparisons end with this verdict. */
static unsigned int frequency(struct random *r, enum verdict_kind kind, unsigned int n, double ratio, double noise)
{
	unsigned int times = 0;

	for (int i = 0; i < 1000; i++) {
		struct pair p = make_pair(r, n, ratio, noise);

		times += judge(&p).kind == kind;
	}
	return times;
}

/* Equal columns are not said to differ, however noisy, more often than by the rare chance that the header names. */
START_TEST(test_noise_is_refused)
{
	static const unsigned int rounds[] = {1, 2, 3, 4, 5, 6, 8, 12, 20, 40};
	static const double noises[] = {0.03, 0.1, 0.3, 1};
	struct random r = random_start("verdict noise");

	for (size_t i = 0; i < sizeof(rounds) / sizeof(*rounds); i++)
		for (size_t j = 0; j < sizeof(noises) / sizeof(*noises); j++) {
			unsigned int wrong = frequency(&r, VERDICT_DIFFERS, rounds[i], 1, noises[j]);

			expect_msg(wrong <= (rounds[i] == 4 ? 50u : 25u), "%u rounds, noise %g: %u of 1000", rounds[i],
				   noises[j], wrong);
		}
	expect(frequency(&r, VERDICT_NOISE, 5, 1, 0.5) > 950);
	expect(frequency(&r, VERDICT_NOISE, 3, 10, 0.001) == 1000);
}
END_TEST

START_TEST(test_differences_are_found)
{
	static const struct {
		unsigned int n;
		double ratio, noise;
		enum verdict_kind kind;
		unsigned int least;
	} cases[] = {
		{5, 1.5, 0.03, VERDICT_DIFFERS, 980},  {5, 1 / 1.5, 0.03, VERDICT_DIFFERS, 980},
		{5, 30, 0.2, VERDICT_DIFFERS, 990},    {8, 1.2, 0.03, VERDICT_DIFFERS, 950},
		{50, 1.1, 0.05, VERDICT_DIFFERS, 950}, {5, 1, 0.01, VERDICT_SAME, 980},
		{5, 1.05, 0.001, VERDICT_DIFFERS, 990}, {20, 1.01, 0.001, VERDICT_SAME, 1000},
	};
	struct random r = random_start("verdict differences");

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		unsigned int times = frequency(&r, cases[i].kind, cases[i].n, cases[i].ratio, cases[i].noise);

		expect_msg(times >= cases[i].least, "%u rounds, ratio %g, noise %g: %s only %u times", cases[i].n,
			   cases[i].ratio, cases[i].noise, verdict_name(cases[i].kind), times);
	}
}
END_TEST

/* The true ratio lies in the interval nine times of ten. */
START_TEST(test_interval_holds_the_ratio)
{
	static const unsigned int rounds[] = {5, 8, 11, 20, 40};
	struct random r = random_start("verdict interval");

	for (size_t i = 0; i < sizeof(rounds) / sizeof(*rounds); i++) {
		unsigned int held = 0;

		for (int j = 0; j < 2000; j++) {
			struct pair p = make_pair(&r, rounds[i], 1.7, 0.2);
			struct verdict v = judge(&p);

			held += v.low <= 1.7 && 1.7 <= v.high;
		}
		expect_msg(held >= 1740, "%u rounds: %u of 2000", rounds[i], held);
	}
}
END_TEST

/* What comes in the way of one round of eight, in either column, changes nothing. */
START_TEST(test_a_disturbed_round)
{
	struct random r = random_start("verdict disturbed");

	for (int i = 0; i < 1000; i++) {
		struct pair p = make_pair(&r, 8, 1.5, 0.01);

		(random_below(&r, 2) ? p.a : p.b)[random_below(&r, 8)] *= 100;
		expect_eq(judge(&p).kind, VERDICT_DIFFERS);
		expect(factor(judge(&p).ratio / 1.5) < 1.05);
	}
}
END_TEST

/* All on one side, and still not to be believed: the interval is wider than the ratio is far from 1. */
START_TEST(test_swallowed)
{
	struct pair wide = {.a = {1.05, 2, 8, 20, 30}, .b = {1, 1, 1, 1, 1}, .n = 5, .m = 5};
	struct pair clear = {.a = {12, 20, 30, 50, 60}, .b = {1, 1, 1, 1, 1}, .n = 5, .m = 5};

	expect_eq(judge(&wide).kind, VERDICT_NOISE);
	expect_eq(judge(&clear).kind, VERDICT_DIFFERS);
	expect(judge(&clear).ratio > 29.9 && judge(&clear).low > 11.9);
}
END_TEST

START_TEST(test_nothing_to_compare)
{
	double values[] = {1, 2, 3, 4, 5}, zeros[] = {0, 0, 0, 0, 0};
	struct cell measured = cell_of(values, 5), none = cell_of(zeros, 5), empty = {.kind = CELL_EMPTY};
	struct cell cannot = measured;

	cannot.kind = CELL_CANNOT;
	expect_eq(verdict_of(&measured, &empty).kind, VERDICT_NONE);
	expect_eq(verdict_of(&empty, &measured).kind, VERDICT_NONE);
	expect_eq(verdict_of(&cannot, &measured).kind, VERDICT_NONE);
	expect_eq(verdict_of(&measured, &none).kind, VERDICT_NONE);
	expect(verdict_of(&measured, &empty).ratio == 0);
	expect_eq(verdict_of(&measured, &measured).kind, VERDICT_SAME);
}
END_TEST

START_TEST(test_spread)
{
	double values[] = {5, 1, 4, 2, 3};
	struct samples five = {.n = 5, .value = values}, four = {.n = 4, .value = values}, none = {.n = 0};
	struct spread s = spread_of(&five);

	expect(s.n == 5 && s.median == 3 && s.min == 1 && s.max == 5);
	s = spread_of(&four);
	expect(s.n == 4 && s.median == 3 && s.min == 1 && s.max == 5);
	s = spread_of(&none);
	expect(s.n == 0 && s.median == 0);
	expect(values[0] == 5 && values[4] == 3);
}
END_TEST

START_TEST(test_counts_only)
{
	double quiet[] = {10, 11, 11.9}, wild[] = {10, 10, 12.1};
	struct cell calm = cell_of(quiet, 3), noisy = cell_of(wild, 3);
	struct column real = {.emulated = false}, lab = {.emulated = true};

	expect(!counts_only(&real, &noisy) && !counts_only(&lab, &calm) && counts_only(&lab, &noisy));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_left_out, test_against_the_oracle, test_exchange, test_noise_is_refused, test_differences_are_found,
		test_interval_holds_the_ratio, test_a_disturbed_round, test_swallowed, test_nothing_to_compare, test_spread,
		test_counts_only,
	};

	return RUN_TESTS("compare-verdict", tests);
}
