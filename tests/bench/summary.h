/* What many measurements on a noisy host come to: their median, and how far they spread. */
#pragma once

#include <stddef.h>

struct summary {
	size_t n; /* 0: nothing was measured, the rest is 0 */
	double median, min, max;
};

/* Sorts values[0, n). */
struct summary summary_of(double *values, size_t n);
