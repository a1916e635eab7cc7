/* A table whose columns are not those of the report: cells of text, the first row its heads. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#define GRID_ROWS 16u
#define GRID_COLUMNS 10u
#define GRID_CELL 48u

struct grid {
	const char *title;
	unsigned int rows, columns;
	char cell[GRID_ROWS][GRID_COLUMNS][GRID_CELL];
};

/* Starts a table with these heads, which NULL ends. */
void grid_start(struct grid *g, const char *title, const char *const *heads);

/* Adds a row that begins with `name`; returns its number. */
unsigned int grid_row(struct grid *g, const char *name);

/* Fills the next cell of a row that is empty. */
void grid_add(struct grid *g, unsigned int row, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Says on standard error that the row is there, for measuring takes its time. */
void grid_tell(const struct grid *g, unsigned int row);

/* On standard output, as Markdown. */
void grid_print(const struct grid *g);

/* An object for each row; json_decref() it. */
json_t *grid_json(const struct grid *g);
