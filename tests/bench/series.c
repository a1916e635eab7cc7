#include "tests/bench/series.h"

#include <err.h>
#include <stdlib.h>

#include "compare/verdict.h"
#include "tests/bench/bench.h"
#include "tests/bench/report.h"

struct series series_new(unsigned int n)
{
	return (struct series){n, bench_alloc(n, sizeof(double)), bench_alloc(n, sizeof(double))};
}

/* Load that comes and goes meets both neighbours and cancels out, which it does not in a ratio of two medians. */
double series_ratio(const struct series *s)
{
	const struct samples ours = {s->n, s->ours}, floor = {s->n, s->floor};
	double *room = bench_alloc(s->n, sizeof(*room)), ratio = ratio_of_neighbours(&ours, &floor, room);

	free(room);
	return ratio;
}

void series_report(struct series *s, struct report *r, struct line line)
{
	line.ratio = series_ratio(s);
	if (!(line.ratio > 0))
		errx(1, "%s: nothing to compare", line.what);
	line.ours = spread_of_values(s->ours, s->n);
	line.floor = spread_of_values(s->floor, s->n);
	report_add(r, line);
	free(s->ours);
	free(s->floor);
}
