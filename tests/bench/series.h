/* What is compared, measured in turn: ours[i] and floor[i] are neighbours in time. */
#pragma once

struct line;
struct report;

struct series {
	unsigned int n;
	double *ours, *floor;
};

struct series series_new(unsigned int n);

/* Ours to floor, the median of neighbours; 0 = there is nothing. */
double series_ratio(const struct series *s);

/* Completes the line with what was measured, adds it to the report, and frees the series. */
void series_report(struct series *s, struct report *r, struct line line);
