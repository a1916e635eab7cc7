/*
 * Numbers for people: three digits and a unit. ASCII, so that a character is a column.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "compare/verdict.h"

#define AMOUNT_ROOM 48

/* All of these fill out[AMOUNT_ROOM] and return it. */

/* "250 ns", "12.3 us", "4.56 ms", "1.20 s". */
char *amount_time(char *out, double us);

/* Median and range in the unit of the median: "12.3 us (11.9-14.0)"; no range of a single sample. */
char *amount_spread(char *out, const struct spread *s);

/* "0", "0.02", "1.00", "41.3", "1024"; less than a hundredth of a percent of one is "~0". */
char *amount_count(char *out, double n);

/* "x1.82", "x0.012", "x410"; "same", "noise" or "-" where no ratio is said. */
char *amount_verdict(char *out, const struct verdict *v);

/* "4 KiB", "6 MiB"; "unknown" for 0. */
char *amount_bytes(char *out, uint64_t bytes);

/* "26 %"; "less than 1 %". */
char *amount_share(char *out, double share);
