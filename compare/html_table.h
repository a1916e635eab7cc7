/*
 * The tables of the page of html.h.
 */
#pragma once

#include <stdio.h>

#include "compare/comparison.h"

/* Times, exits and ratios of all rows, and why cells have none. */
void html_results(FILE *out, const struct comparison *c);

/* Exits by cause and the length of a page walk, for each cell that has any. */
void html_causes(FILE *out, const struct comparison *c);
