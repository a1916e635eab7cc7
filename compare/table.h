/*
 * A comparison for a terminal: the hosts, a table for each group of workloads, exits by cause, and what the
 * numbers say. At most 120 columns wide, whatever is in it; more than three columns of results become
 * several tables. Bold and colour only if `out` is a terminal and the environment has no NO_COLOR
 * (no-color.org).
 */
#pragma once

#include <stdio.h>

struct comparison;

/* Errors of writing stay in ferror(out). Returns 0, or a logged -ENOMEM. */
int table_print(FILE *out, const struct comparison *c);
