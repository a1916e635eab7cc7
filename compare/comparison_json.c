#include "compare/comparison_json.h"

#include <errno.h>
#include <jansson.h>

#include "compare/comparison_fields.h"
#include "compare/verdict.h"
#include "vmm/log.h"

/* `object` with the members of `more`, both taken over; NULL if either is, or without memory. */
static json_t *extend(json_t *object, json_t *more)
{
	if (!object || !more || json_object_update(object, more)) {
		json_decref(object);
		object = NULL;
	}
	json_decref(more);
	return object;
}

/* Takes over `value`; an array that could not grow is gone. */
static json_t *append(json_t *array, json_t *value)
{
	if (!array || !value || json_array_append(array, value)) {
		json_decref(array);
		array = NULL;
	}
	json_decref(value);
	return array;
}

static json_t *samples_array(const struct samples *s)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < s->n && array; i++)
		array = append(array, json_real(s->value[i]));
	return array;
}

static json_t *causes_object(const struct cell *cell)
{
	json_t *object = json_object();

	for (unsigned int i = 0; i < cell->causes; i++)
		object = extend(object, json_pack("{s:f}", cell->cause[i].name, cell->cause[i].per_operation));
	return object;
}

static json_t *measured_object(const struct cell *cell)
{
	struct spread s = spread_of(&cell->us);

	return json_pack("{s:o, s:f, s:o, s:o, s:f, s:f, s:f}", "us", samples_array(&cell->us), "exits", cell->exits, "causes",
			 causes_object(cell), "walk", json_from_struct(JSON_FIELDS(json_walk), &cell->walk), "median_us",
			 s.median, "min_us", s.min, "max_us", s.max);
}

static json_t *cell_value(const struct cell *cell)
{
	switch (cell->kind) {
	case CELL_MEASURED: return measured_object(cell);
	case CELL_CANNOT: return json_pack("{s:s}", "cannot", cell->why);
	case CELL_EMPTY: break;
	}
	return json_null();
}

static json_t *cells_array(const struct comparison *c, const struct row *row)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < c->columns && array; i++)
		array = append(array, cell_value(&row->cell[i]));
	return array;
}

static json_t *verdict_object(const struct comparison *c, const struct row *row, unsigned int a, unsigned int b)
{
	struct verdict v = verdict_of(&row->cell[a], &row->cell[b]);

	return json_pack("{s:s, s:s, s:s, s:f, s:f, s:f}", "of", c->column[a].name, "to", c->column[b].name, "verdict",
			 verdict_name(v.kind), "ratio", v.ratio, "low", v.low, "high", v.high);
}

static json_t *verdicts_array(const struct comparison *c, const struct row *row)
{
	json_t *array = json_array();

	for (unsigned int a = 0; a < c->columns; a++)
		for (unsigned int b = 0; b < c->columns && array; b++)
			array = a == b ? array : append(array, verdict_object(c, row, a, b));
	return array;
}

static json_t *rows_array(const struct comparison *c)
{
	json_t *array = json_array();

	for (size_t i = 0; i < c->rows && array; i++) {
		const struct row *row = &c->row[i];

		array = append(array, extend(json_from_struct(JSON_FIELDS(json_row), row),
					     json_pack("{s:o, s:o}", "cells", cells_array(c, row), "verdicts",
						       verdicts_array(c, row))));
	}
	return array;
}

static json_t *columns_array(const struct comparison *c)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < c->columns && array; i++)
		array = append(array, json_from_struct(JSON_FIELDS(json_column), &c->column[i]));
	return array;
}

int comparison_to_json(FILE *out, const struct comparison *c)
{
	json_t *root = extend(json_pack("{s:i}", "penumbra_comparison", COMPARISON_JSON_VERSION),
			      json_from_struct(JSON_FIELDS(json_whole), c));

	root = extend(root, json_pack("{s:o, s:o}", "columns", columns_array(c), "rows", rows_array(c)));
	if (!root)
		return log_errno(ENOMEM, "compare: JSON");
	/* Errors of writing are the stream's. */
	(void)!json_dumpf(root, out, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	fputc('\n', out);
	json_decref(root);
	return 0;
}
