/*
 * Which columns of a comparison are set against each other, and with what result. Everything here depends
 * on what columns are, never on the order they stand in.
 */
#pragma once

#include <stdbool.h>

#include "compare/comparison.h"
#include "compare/verdict.h"

#define NO_COLUMN COMPARISON_MAX_COLUMNS

bool column_is_shadow(const struct column *c);

/* Times of different machines have nothing to say to each other: these two were taken on the same one. */
bool column_same_machine(const struct column *a, const struct column *b);

/*
 * The column that `column` is read against: direct mode on the same machine, with nested paging if there is
 * such a one. It is NO_COLUMN for that column itself, and where there is none.
 */
unsigned int versus_base(const struct comparison *c, unsigned int column);

/* What may be said of a's time in a row over b's; VERDICT_NONE as well where either shows only its counts. */
struct verdict versus(const struct comparison *c, const struct row *r, unsigned int a, unsigned int b);

/* Is there a time in this cell that may be shown? */
bool cell_has_time(const struct comparison *c, const struct row *r, unsigned int column);
