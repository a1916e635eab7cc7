/* What benchmarks found, as a table for people (Markdown, for release notes) or as JSON. */
#pragma once

#include <stdbool.h>

#include "compare/verdict.h"

/* What a target is for. TARGET_TIME is not judged in the lab: times in an emulation say nothing. */
enum target_is { TARGET_AMOUNT, TARGET_TIME, TARGET_OF_RATIO };

struct line {
	const char *what, *unit;
	struct spread ours, floor; /* floor.n == 0: there is nothing to compare with */
	double ratio;		    /* ours to floor, by neighbours (verdict.h) */
	double target;		    /* at most; 0 = none */
	enum target_is target_is;
};

#define REPORT_MAX_LINES 80
#define REPORT_MAX_GRIDS 4

struct grid;

struct report {
	struct line lines[REPORT_MAX_LINES];
	unsigned int count;
	const struct grid *grids[REPORT_MAX_GRIDS]; /* tables of other columns, below the lines */
	unsigned int grid_count;
};

void report_add(struct report *r, struct line line);

void report_add_grid(struct report *r, const struct grid *g); /* stays the caller's, until the report is made */

/* True if every line keeps its target. */
bool report_kept(const struct report *r);

/* On standard output, led by what this host is. */
void report_table(const struct report *r);
void report_json(const struct report *r);
