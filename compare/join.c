#include "compare/join.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "compare/versus.h"
#include "vmm/log.h"

static bool same_host(const struct column *a, const struct column *b)
{
	return !strcmp(a->host_mmu, b->host_mmu) && !strcmp(a->cpu, b->cpu) && !strcmp(a->kernel, b->kernel) &&
	       a->nested == b->nested && a->emulated == b->emulated;
}

static bool same_column(const struct column *a, const struct column *b)
{
	return !strcmp(a->mmu, b->mmu) && same_host(a, b) && a->host_page == b->host_page && a->tlb_reach == b->tlb_reach;
}

/* The column of `into` that is the same, or a new one; -errno without room. */
static int place_column(struct comparison *into, const struct column *column)
{
	struct column *new;

	for (unsigned int i = 0; i < into->columns; i++)
		if (same_column(&into->column[i], column))
			return (int)i;
	new = comparison_add_column(into);
	if (!new)
		return -E2BIG;
	*new = *column;
	return (int)(new - into->column);
}

/* Behind the last row of its group, so that groups stay together. */
static struct row *insert_row(struct comparison *into, const struct row *from)
{
	size_t at = into->rows;
	struct row *rows;

	if (!comparison_add_row(into))
		return NULL;
	rows = into->row;
	for (size_t i = 0; i < into->rows - 1; i++)
		if (!strcmp(rows[i].group, from->group))
			at = i + 1;
	memmove(&rows[at + 1], &rows[at], (into->rows - 1 - at) * sizeof(*rows));
	rows[at] = *from;
	memset(rows[at].cell, 0, sizeof(rows[at].cell));
	return &rows[at];
}

static int place_row(struct comparison *into, const struct row *from, const char *name, struct row **row)
{
	*row = comparison_find_row(into, from->name);
	if (!*row)
		*row = insert_row(into, from);
	if (!*row)
		return -ENOMEM;
	if ((*row)->operations != from->operations)
		return log_bad(EINVAL, "%s: %s: %llu operations, not %llu as in the files before: that is not the same work", name,
			       from->name, (unsigned long long)from->operations, (unsigned long long)(*row)->operations);
	return 0;
}

static double weighted(double a, unsigned int n, double b, unsigned int m)
{
	return (a * n + b * m) / (n + m);
}

static struct cause *find_cause(struct cell *cell, const char *name)
{
	for (unsigned int i = 0; i < cell->causes; i++)
		if (!strcmp(cell->cause[i].name, name))
			return &cell->cause[i];
	return NULL;
}

/* Means over runs, so each side counts as often as it has runs; what a side does not name has not happened there. */
static void join_counts(struct cell *into, const struct cell *from)
{
	unsigned int n = into->us.n, m = from->us.n;

	into->exits = weighted(into->exits, n, from->exits, m);
	for (unsigned int i = 0; i < into->causes; i++)
		into->cause[i].per_operation = weighted(into->cause[i].per_operation, n, 0, m);
	for (unsigned int i = 0; i < from->causes; i++) {
		struct cause *cause = find_cause(into, from->cause[i].name);
		double part = weighted(0, n, from->cause[i].per_operation, m);

		if (cause)
			cause->per_operation += part;
		else if (into->causes < CELL_MAX_CAUSES) {
			into->cause[into->causes] = from->cause[i];
			into->cause[into->causes++].per_operation = part;
		}
	}
}

static int join_measured(struct cell *into, const struct cell *from)
{
	int r = 0;

	join_counts(into, from);
	into->kind = CELL_MEASURED;
	into->walk = from->walk;
	for (unsigned int i = 0; i < from->us.n && r == 0; i++)
		r = samples_add(&into->us, from->us.value[i]);
	return r;
}

/* What could not be measured once cannot be compared, whatever other files say of it. */
static int join_cell(struct cell *into, const struct cell *from)
{
	if (from->kind == CELL_EMPTY || into->kind == CELL_CANNOT)
		return 0;
	if (from->kind == CELL_MEASURED)
		return join_measured(into, from);
	into->kind = CELL_CANNOT;
	memcpy(into->why, from->why, sizeof(into->why));
	return 0;
}

static int join_row(struct comparison *into, const struct comparison *from, const struct row *row, const int *place,
		    const char *name)
{
	struct row *to;
	int r = place_row(into, row, name, &to);

	for (unsigned int i = 0; i < from->columns && r == 0; i++)
		r = join_cell(&to->cell[place[i]], &row->cell[i]);
	return r;
}

/*
 * How many rounds a reader may expect of a row: as many as the best has, if something was cut short; else as the worst has, which
 * then is in fewer files by somebody's will.
 */
static unsigned int rounds_of(const struct comparison *c)
{
	unsigned int most = 0, fewest = UINT_MAX;

	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 0; j < c->columns; j++) {
			unsigned int n = c->row[i].cell[j].us.n;

			most = n > most ? n : most;
			fewest = n && n < fewest ? n : fewest;
		}
	return c->partial || !most ? most : fewest;
}

int join(struct comparison *into, const struct comparison *from, const char *name)
{
	int place[COMPARISON_MAX_COLUMNS], r = 0;

	for (unsigned int i = 0; i < from->columns; i++) {
		place[i] = place_column(into, &from->column[i]);
		if (place[i] < 0)
			return place[i];
	}
	for (size_t i = 0; i < from->rows && r == 0; i++)
		r = join_row(into, from, &from->row[i], place, name);
	into->partial |= from->partial;
	into->rounds = rounds_of(into);
	return r;
}

static bool one_host(const struct comparison *c)
{
	for (unsigned int i = 1; i < c->columns; i++)
		if (!same_host(&c->column[0], &c->column[i]))
			return false;
	return true;
}

static unsigned int shadow_columns(const struct comparison *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->columns; i++)
		n += column_is_shadow(&c->column[i]);
	return n;
}

static void name_by_host(struct column *column, bool only_shadow)
{
	char name[sizeof(column->name)]; /* aside: compilers suspect a source and a target within one structure */

	if (column_is_shadow(column))
		snprintf(name, sizeof(name), only_shadow ? "shadow" : "shadow (%.20s)", column->host_mmu);
	else if (column->nested)
		snprintf(name, sizeof(name), "nested (%.20s)", column->host_mmu);
	else
		snprintf(name, sizeof(name), "%.28s", column->host_mmu);
	for (char *dash = name; (dash = strchr(dash, '-'));)
		*dash = ' ';
	memcpy(column->name, name, sizeof(name));
}

/* How many columns before this one, or this one, have its name. */
static unsigned int namesakes(const struct comparison *c, const struct column *column)
{
	unsigned int n = 1;

	for (const struct column *i = c->column; i < column; i++)
		n += !strcmp(i->name, column->name);
	return n;
}

/* From the last one on: a name made longer is not a namesake of those before it any more. */
static void number_namesakes(struct comparison *c)
{
	for (unsigned int i = c->columns; i-- > 0;) {
		struct column *column = &c->column[i];
		unsigned int n = namesakes(c, column);
		size_t length = strnlen(column->name, sizeof(column->name) - sizeof(" 8"));

		if (n > 1)
			snprintf(column->name + length, sizeof(column->name) - length, " %u", n);
	}
}

void join_name_columns(struct comparison *c)
{
	bool only_shadow = shadow_columns(c) < 2;

	for (unsigned int i = 0; i < c->columns && !one_host(c); i++)
		name_by_host(&c->column[i], only_shadow);
	number_namesakes(c);
}
