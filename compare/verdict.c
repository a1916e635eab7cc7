#include "compare/verdict.h"

#include <math.h>
#include <stdlib.h>

#include "vmm/ensure.h"

#define COVERAGE 0.9
#define EMULATED_SPREAD 0.2

static const char *const names[] = {
	[VERDICT_NONE] = "none",
	[VERDICT_NOISE] = "noise",
	[VERDICT_SAME] = "same",
	[VERDICT_DIFFERS] = "differs",
};

const char *verdict_name(enum verdict_kind kind)
{
	return names[kind];
}

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of_sorted(const double *v, unsigned int n)
{
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

struct spread spread_of_values(double *v, unsigned int n)
{
	if (!n)
		return (struct spread){0};
	qsort(v, n, sizeof(*v), compare_values);
	return (struct spread){.n = n, .median = median_of_sorted(v, n), .min = v[0], .max = v[n - 1]};
}

struct spread spread_of(const struct samples *s)
{
	double v[COMPARISON_MAX_SAMPLES];

	ensure(s->n <= COMPARISON_MAX_SAMPLES);
	for (unsigned int i = 0; i < s->n; i++)
		v[i] = s->value[i];
	return spread_of_values(v, s->n);
}

/* The binomial distribution of n fair coins, summed from both ends as long as the middle keeps its chances. */
unsigned int verdict_left_out(unsigned int n)
{
	double term = exp2(-(double)n), tail = term;
	unsigned int out = 0;

	while (out + 1 < (n + 1) / 2) {
		term *= (double)(n - out) / (out + 1);
		tail += term;
		if (1 - 2 * tail < COVERAGE)
			break;
		out++;
	}
	return out;
}

/* The same bits for x as for -x, one inverted: so exchanging columns inverts what is said. */
static double ratio_of_log(double x)
{
	return x < 0 ? 1 / exp(-x) : exp(x);
}

static enum verdict_kind judge(unsigned int n, double median, double low, double high)
{
	double nearest = fmin(fabs(low), fabs(high)), farthest = fmax(fabs(low), fabs(high));

	if (n < VERDICT_MIN)
		return VERDICT_NOISE;
	if (high - low < fabs(median) && nearest > log(VERDICT_MARGIN))
		return VERDICT_DIFFERS;
	return farthest < log(VERDICT_SAME_WITHIN) ? VERDICT_SAME : VERDICT_NOISE;
}

/* Logarithms, because exchanging the columns negates each of them exactly, and so everything that is made of them. Sorted. */
static unsigned int neighbours(const struct samples *a, const struct samples *b, double *logs)
{
	unsigned int n = a->n < b->n ? a->n : b->n, used = 0;

	for (unsigned int i = 0; i < n; i++)
		if (a->value[i] > 0 && b->value[i] > 0)
			logs[used++] = log(a->value[i]) - log(b->value[i]);
	qsort(logs, used, sizeof(*logs), compare_values);
	return used;
}

double ratio_of_neighbours(const struct samples *a, const struct samples *b, double *room)
{
	unsigned int n = neighbours(a, b, room);

	return n ? ratio_of_log(median_of_sorted(room, n)) : 0;
}

struct verdict verdict_of(const struct cell *a, const struct cell *b)
{
	double logs[COMPARISON_MAX_SAMPLES], median, low, high;
	unsigned int n = 0, out;

	ensure(a->us.n <= COMPARISON_MAX_SAMPLES || b->us.n <= COMPARISON_MAX_SAMPLES);
	if (a->kind == CELL_MEASURED && b->kind == CELL_MEASURED)
		n = neighbours(&a->us, &b->us, logs);
	if (!n)
		return (struct verdict){.kind = VERDICT_NONE};
	out = verdict_left_out(n);
	median = median_of_sorted(logs, n);
	low = logs[out];
	high = logs[n - 1 - out];
	return (struct verdict){.kind = judge(n, median, low, high), .ratio = ratio_of_log(median),
				.low = ratio_of_log(low), .high = ratio_of_log(high)};
}

bool counts_only(const struct column *column, const struct cell *cell)
{
	struct spread s = spread_of(&cell->us);

	return column->emulated && s.max - s.min > EMULATED_SPREAD * s.median;
}
