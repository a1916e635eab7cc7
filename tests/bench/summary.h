/* What a series of measurements comes to. The host is shared and noisy, so: medians, and how far the values spread. */
#pragma once

#include <stddef.h>

struct summary {
	size_t n; /* 0: nothing was measured, the rest is 0 */
	double median, min, max;
};

/* Sorts values[0, n). */
struct summary summary_of(double *values, size_t n);

/*
 * The median of a[i] / b[i], where a[i] and b[i] were measured one after the other: load that comes and goes meets both
 * and cancels out, which it does not in a ratio of two medians.
 */
double summary_pairwise_ratio(const double *a, const double *b, size_t n);
