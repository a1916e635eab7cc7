/*
 * Why cells cannot be measured, numbered: every text once, in the order of the rows.
 */
#pragma once

#include "compare/comparison.h"

struct notes {
	unsigned int n;
	const char *why[COMPARISON_MAX_ROWS * COMPARISON_MAX_COLUMNS]; /* the comparison's own */
};

struct notes notes_of(const struct comparison *c);

/* From 1 on; 0 if it is none of them. */
unsigned int notes_number(const struct notes *notes, const char *why);
