/*
 * Statistics of guests, as `stats` of the control socket has them, as a table for people: one row for each guest, the sums of
 * several, and what happened a second since the last time.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

/*
 * Prints `guests`. Columns that do not fit into `width` are left out, the last ones first; so are guests if there are more lines than
 * `height`, and it is said how many. before: what it was the last time, NULL = this is the first. Each line ends in `end`. Returns the number of
 * lines.
 */
unsigned int stats_table_print(FILE *out, const json_t *guests, const json_t *before, unsigned int width, unsigned int height,
			       const char *end);
