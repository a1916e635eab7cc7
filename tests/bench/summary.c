#include "tests/bench/summary.h"

#include <stdlib.h>

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
	return (struct summary){
		.n = n, .min = values[0], .max = values[n - 1],
		.median = (values[(n - 1) / 2] + values[n / 2]) / 2,
	};
}
