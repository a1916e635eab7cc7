/*
 * What the numbers of a comparison say, in paragraphs: what the hosts do, where each mode wins and why
 * (dearness.h), how long page walks are, and the worst rows of shadow mode. Nothing in it is written in
 * advance.
 */
#pragma once

#include <stdio.h>

#include "compare/comparison.h"

/*
 * A paragraph a line; lines that begin with "# " are headings, with "- " items of a list. Names in it are
 * as they are in the comparison, less control characters. Errors of writing stay in ferror(out).
 */
void explain(const struct comparison *c, FILE *out);
