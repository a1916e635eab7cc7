#include "tests/bench/summary.h"

#include <stdlib.h>

#include "tests/bench/bench.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct summary summary_of(double *values, size_t n)
{
	if (!n)
		return (struct summary){.n = 0};
	qsort(values, n, sizeof(*values), compare);
	return (struct summary){.n = n, .min = values[0], .max = values[n - 1],
				.median = (values[(n - 1) / 2] + values[n / 2]) / 2};
}

double summary_pairwise_ratio(const double *a, const double *b, size_t n)
{
	double *ratios = bench_alloc(n, sizeof(*ratios)), median;

	for (size_t i = 0; i < n; i++)
		ratios[i] = a[i] / b[i];
	median = summary_of(ratios, n).median;
	free(ratios);
	return median;
}
