#include "tests/bench/series.h"

#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/report.h"

struct series series_new(unsigned int n)
{
	return (struct series){n, bench_alloc(n, sizeof(double)), bench_alloc(n, sizeof(double))};
}

/*
 * The median of ours[i] / floor[i]: load that comes and goes meets both neighbours and cancels out,
 * which it does not in a ratio of two medians.
 */
static double neighbours_ratio(const struct series *s)
{
	double *ratios = bench_alloc(s->n, sizeof(*ratios)), median;

	for (unsigned int i = 0; i < s->n; i++)
		ratios[i] = s->ours[i] / s->floor[i];
	median = summary_of(ratios, s->n).median;
	free(ratios);
	return median;
}

void series_report(struct series *s, struct report *r, struct line line)
{
	line.ratio = neighbours_ratio(s);
	line.ours = summary_of(s->ours, s->n);
	line.floor = summary_of(s->floor, s->n);
	report_add(r, line);
	free(s->ours);
	free(s->floor);
}
