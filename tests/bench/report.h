/* The result of benchmarks, as a table for people (in Markdown, so that a release note can take it) or as JSON. */
#pragma once

#include <stdbool.h>

#include "tests/bench/summary.h"

struct line {
	const char *what, *unit;
	struct summary ours, floor; /* floor.n == 0: there is nothing to compare with */
	double ratio;		    /* ours to floor, 0 = not given */
	double target;		    /* 0 = none */
	bool target_is_ratio;	    /* the target is for the ratio, not for ours.median */
};

#define REPORT_MAX_LINES 16

struct report {
	struct line lines[REPORT_MAX_LINES];
	unsigned int count;
};

void report_add(struct report *r, struct line line);

/* True if every line keeps its target. */
bool report_kept(const struct report *r);

/* On standard output, led by what this host is. */
void report_table(const struct report *r);
void report_json(const struct report *r);
