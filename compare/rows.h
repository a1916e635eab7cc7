/*
 * How rows of a comparison hang together.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "compare/comparison.h"

/* Is this the first row of its group? Groups come in the order of their first rows, wherever the others are. */
bool row_starts_group(const struct comparison *c, size_t row);

/* Has a column fewer rounds of this row than were asked for? Not where it cannot. */
bool row_is_incomplete(const struct comparison *c, const struct row *r);
