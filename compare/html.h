/*
 * A comparison as one HTML page that needs nothing else: no scripts, no network, plots as SVG. Light or
 * dark as the reader's system asks, and fit to be printed. It is well-formed XML too, so that any parser
 * can read the numbers back.
 */
#pragma once

#include <stdio.h>

struct comparison;

/* Errors of writing stay in ferror(out). Returns 0, or a logged -ENOMEM. */
int html_write(FILE *out, const struct comparison *c);
