/*
 * Plots of a group of rows, as SVG inside an HTML page. Colours come from the page's style sheet
 * (html_style.h): .c0 to .c7 for columns, .k0 to .k7 for classes of causes. Columns differ by shape as
 * well, and every number is in the page's tables too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "compare/comparison.h"

/* Is there a ratio, or an exit, in any row of this group? Otherwise there is nothing to plot. */
bool plot_has_ratios(const struct comparison *c, const char *group);
bool plot_has_exits(const struct comparison *c, const char *group);

/* A dot for each ratio with its interval, on a logarithmic axis. `id` makes the names in it unique within the page. */
void plot_ratios(FILE *out, const struct comparison *c, const char *group, size_t id);

/* A bar for each cell that has exits: the share of every class of causes, and their number. */
void plot_exits(FILE *out, const struct comparison *c, const char *group, size_t id);

/* The sign of a column in plots, centred at x, y. */
void plot_sign(FILE *out, unsigned int column, double x, double y, bool hollow);
