/*
 * What may be said about two columns of a row. They were measured in turn, so sample i of both shares the host's mood: what
 * is looked at are the ratios of such neighbours, in logarithms, because twice as long and half as long are the same distance
 * from equal.
 *
 * The ratio of a row is the median of its neighbours' ratios: one disturbed round moves it little. For an even number it is
 * the geometric mean of the middle two.
 *
 * Its interval needs no assumption on how the noise is distributed: were the true median outside of it, so many neighbours
 * would have fallen on one side by chance as seldom as a coin does on one face (the sign test). It leaves out as many of the
 * lowest and of the highest ratios as still gives nine chances of ten: none up to seven rounds, one at each end of eight to
 * ten, two of eleven, 18 of fifty. So more rounds make it narrower and forgive more disturbed ones.
 *
 * A ratio is said only if it stands out of the noise: it is farther from 1 than its interval is wide. Then the interval cannot
 * hold 1. That alone would not do: noise puts five rounds of two equal columns on one side of 1 every sixteenth time, and a
 * comparison has tens of rows; but seldom (about once in 150) are they then closer together than they are far from 1. And the
 * whole interval is beyond VERDICT_MARGIN, for what is always measured first, or the clock's own cost, may make two percent. With
 * fewer than VERDICT_MIN neighbours nothing is known of the noise (of three, one comparison in eleven of equal columns would pass).
 *
 * If no ratio is said there are two reasons, and they are not the same: the columns cost the same as far as anybody could
 * care (the interval lies within VERDICT_SAME_WITHIN), or the noise hides what there may be.
 *
 * Exchanging the columns gives exactly the same kind, the ratio's inverse, and the interval's with its ends exchanged.
 */
#pragma once

#include "compare/comparison.h"

#define VERDICT_MIN 4
#define VERDICT_MARGIN 1.02
#define VERDICT_SAME_WITHIN 1.1

struct spread {
	unsigned int n;
	double median, min, max; /* 0 if there is no sample */
};

enum verdict_kind {
	VERDICT_NONE,	  /* a column has nothing to compare */
	VERDICT_NOISE,	  /* nothing can be said */
	VERDICT_SAME,	  /* no difference that matters */
	VERDICT_DIFFERS,  /* the ratio stands */
};

struct verdict {
	enum verdict_kind kind;
	double ratio, low, high; /* of a's time to b's; 0 for VERDICT_NONE */
};

struct spread spread_of(const struct samples *s);

/* The same of v[0, n), which it sorts. */
struct spread spread_of_values(double *v, unsigned int n);

/* a's time over b's. Of unequal numbers of samples the first ones are neighbours. */
struct verdict verdict_of(const struct cell *a, const struct cell *b);

/* Its ratio alone; 0 if there is none. `room` is for as many values as neighbours. */
double ratio_of_neighbours(const struct samples *a, const struct samples *b, double *room);

/* How a verdict is written in JSON: "none", "noise", "same", "differs". */
const char *verdict_name(enum verdict_kind kind);

/* How many values are left out at each end of n sorted ones, for the interval. */
unsigned int verdict_left_out(unsigned int n);

/*
 * True if the times of a cell may not be shown, only its counts: in an emulation, where they differ by more than a fifth of
 * their median.
 */
bool counts_only(const struct column *column, const struct cell *cell);
