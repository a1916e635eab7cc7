/*
 * Random comparisons, as measuring may make them, for what reads, writes and joins them.
 */
#pragma once

#include "compare/comparison.h"
#include "tests/unit/random.h"

/* A number of any size from 0 on. */
double random_number(struct random *r);

/* Printable UTF-8 that fills up to room - 1 bytes, at least one; special characters of JSON are in it. */
void random_text(struct random *r, char *to, size_t room);

/* Fills an empty comparison: any number of columns and rows, names of which are unique. */
void random_comparison(struct random *r, struct comparison *c);

/* Fills a cell with measurements of any number up to `most`, and causes. */
void random_cell(struct random *r, struct cell *cell, unsigned int most);
