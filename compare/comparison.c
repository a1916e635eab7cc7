#include "compare/comparison.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"

void comparison_init(struct comparison *c)
{
	*c = (struct comparison){0};
}

struct column *comparison_add_column(struct comparison *c)
{
	if (c->columns == COMPARISON_MAX_COLUMNS) {
		log_bad(E2BIG, "compare: more than %u columns", COMPARISON_MAX_COLUMNS);
		return NULL;
	}
	c->column[c->columns] = (struct column){0};
	return &c->column[c->columns++];
}

struct row *comparison_add_row(struct comparison *c)
{
	struct row *rows;

	if (c->rows == COMPARISON_MAX_ROWS) {
		log_bad(E2BIG, "compare: more than %u rows", COMPARISON_MAX_ROWS);
		return NULL;
	}
	rows = reallocarray(c->row, c->rows + 1, sizeof(*rows));
	if (!rows) {
		log_errno(ENOMEM, "compare: a row");
		return NULL;
	}
	c->row = rows;
	rows[c->rows] = (struct row){0};
	return &rows[c->rows++];
}

struct row *comparison_find_row(const struct comparison *c, const char *name)
{
	for (size_t i = 0; i < c->rows; i++)
		if (!strcmp(c->row[i].name, name))
			return &c->row[i];
	return NULL;
}

void comparison_free(struct comparison *c)
{
	for (size_t i = 0; i < c->rows; i++)
		for (unsigned int j = 0; j < COMPARISON_MAX_COLUMNS; j++)
			free(c->row[i].cell[j].us.value);
	free(c->row);
	comparison_init(c);
}

int samples_add(struct samples *s, double value)
{
	double *values;

	if (s->n == COMPARISON_MAX_SAMPLES)
		return log_bad(E2BIG, "compare: more than %u measurements of one thing", COMPARISON_MAX_SAMPLES);
	values = reallocarray(s->value, s->n + 1, sizeof(*values));
	if (!values)
		return log_errno(ENOMEM, "compare: a measurement");
	s->value = values;
	values[s->n++] = value;
	return 0;
}
