/*
 * What one run cost between two of its marks, and its way into a cell.
 */
#pragma once

#include <stdint.h>

#include "compare/comparison.h"

struct mark;
struct marks;

struct cost {
	double ns, exits;
	double mark_ns; /* what a mark takes, which is part of ns */
	unsigned int causes;
	struct cause cause[CELL_MAX_CAUSES]; /* how often each */
};

/* From one mark to a later one. Only causes that there were. */
struct cost cost_between(const struct mark *from, const struct mark *to);

/*
 * What the benchmark guest did between its marks BEGIN and END (guest/lib/mmucost.h). Its counts are without those of a mark; its time
 * is with it, and what a mark takes is beside it. Returns 0, or -ENOENT if the guest has not set them.
 */
int cost_of_marks(const struct marks *marks, struct cost *c);

/*
 * Adds a run of that many operations to a cell: a sample of its time, and its counts to the cell's means over runs. Returns 0 or a
 * logged -errno.
 */
int cost_add_to_cell(const struct cost *c, uint64_t operations, struct cell *cell);

/*
 * Takes a mark's time from all samples of a cell. It should be the least that was seen of it: a mark is short, and what disturbs one
 * could be longer than all that is measured.
 */
void cost_take_mark(double mark_ns, uint64_t operations, struct cell *cell);
