#include "tests/bench/grid.h"

#include <err.h>
#include <stdarg.h>
#include <stdio.h>

void grid_start(struct grid *g, const char *title, const char *const *heads)
{
	*g = (struct grid){.title = title, .rows = 1};
	while (heads[g->columns] && g->columns < GRID_COLUMNS)
		grid_add(g, 0, "%s", heads[g->columns++]);
}

unsigned int grid_row(struct grid *g, const char *name)
{
	if (g->rows == GRID_ROWS)
		errx(1, "%s: too many rows", g->title);
	grid_add(g, g->rows, "%s", name);
	return g->rows++;
}

void grid_add(struct grid *g, unsigned int row, const char *fmt, ...)
{
	unsigned int column = 0;
	va_list args;

	while (column < GRID_COLUMNS && g->cell[row][column][0])
		column++;
	if (column == GRID_COLUMNS)
		errx(1, "%s: too many columns", g->title);
	va_start(args, fmt);
	vsnprintf(g->cell[row][column], GRID_CELL, fmt, args);
	va_end(args);
}

static void print_row(FILE *f, const struct grid *g, unsigned int row)
{
	for (unsigned int i = 0; i < g->columns; i++)
		fprintf(f, "| %s ", g->cell[row][i]);
	fputs("|\n", f);
}

void grid_tell(const struct grid *g, unsigned int row)
{
	print_row(stderr, g, row);
}

void grid_print(const struct grid *g)
{
	printf("%s\n\n", g->title);
	print_row(stdout, g, 0);
	for (unsigned int i = 0; i < g->columns; i++)
		fputs("|---", stdout);
	puts("|");
	for (unsigned int i = 1; i < g->rows; i++)
		print_row(stdout, g, i);
	putchar('\n');
}

json_t *grid_json(const struct grid *g)
{
	json_t *rows = json_array();

	for (unsigned int i = 1; i < g->rows; i++) {
		json_t *row = json_object();

		for (unsigned int n = 0; n < g->columns; n++)
			json_object_set_new(row, g->cell[0][n], json_string(g->cell[i][n]));
		json_array_append_new(rows, row);
	}
	return json_pack("{s:s, s:o}", "title", g->title, "rows", rows);
}
