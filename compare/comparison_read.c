#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare/comparison_fields.h"
#include "compare/comparison_json.h"
#include "vmm/log.h"

static int read_samples(struct json_place *p, const json_t *object, struct samples *s)
{
	const json_t *array = json_array_in(p, object, "us", 1, COMPARISON_MAX_SAMPLES);
	size_t length = json_enter(p, "us");
	int r = array ? 0 : -EINVAL;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		size_t element = json_enter_element(p, i);
		double value;

		r = json_take_number(p, json_array_get(array, i), JSON_MOST, &value);
		if (r == 0)
			r = samples_add(s, value);
		if (r == 0)
			json_leave(p, element);
	}
	if (r == 0)
		json_leave(p, length);
	return r;
}

static int read_cause(struct json_place *p, const char *name, const json_t *value, struct cause *cause)
{
	json_t *text = json_string(name);
	int r = json_copy_text(p, text, cause->name, sizeof(cause->name));

	json_decref(text);
	return r < 0 ? r : json_take_number(p, value, JSON_MOST, &cause->per_operation);
}

static int read_causes(struct json_place *p, const json_t *object, struct cell *cell)
{
	/* json_object_iter() takes no const. */
	json_t *causes = json_object_get(object, "causes");
	size_t length = json_enter(p, "causes");

	if (!json_is_object(causes))
		return json_bad(p, "not an object");
	if (json_object_size(causes) > CELL_MAX_CAUSES)
		return json_bad(p, "more than %u", CELL_MAX_CAUSES);
	for (void *i = json_object_iter(causes); i; i = json_object_iter_next(causes, i)) {
		int r = read_cause(p, json_object_iter_key(i), json_object_iter_value(i), &cell->cause[cell->causes]);

		if (r < 0)
			return r;
		cell->causes++;
	}
	json_leave(p, length);
	return 0;
}

static int read_walk(struct json_place *p, const json_t *object, struct cell *cell)
{
	size_t length = json_enter(p, "walk");
	int r = json_to_struct(p, JSON_FIELDS(json_walk), json_object_get(object, "walk"), &cell->walk);

	if (r == 0)
		json_leave(p, length);
	return r;
}

static int read_measured(struct json_place *p, const json_t *object, struct cell *cell)
{
	size_t length = json_enter(p, "exits");
	int r = json_take_number(p, json_object_get(object, "exits"), JSON_MOST, &cell->exits);

	if (r < 0)
		return r;
	json_leave(p, length);
	cell->kind = CELL_MEASURED;
	r = read_samples(p, object, &cell->us);
	if (r == 0)
		r = read_causes(p, object, cell);
	return r < 0 ? r : read_walk(p, object, cell);
}

static int read_cell(struct json_place *p, const json_t *value, struct cell *cell)
{
	const json_t *why = json_object_get(value, "cannot");

	if (json_is_null(value))
		return 0;
	if (!json_is_object(value))
		return json_bad(p, "neither an object nor null");
	if (!why)
		return read_measured(p, value, cell);
	cell->kind = CELL_CANNOT;
	return json_copy_text(p, why, cell->why, sizeof(cell->why));
}

static int read_cells(struct json_place *p, const json_t *object, const struct comparison *c, struct row *row)
{
	const json_t *array = json_array_in(p, object, "cells", c->columns, c->columns);
	size_t length = json_enter(p, "cells");

	if (!array)
		return -EINVAL;
	for (unsigned int i = 0; i < c->columns; i++) {
		size_t element = json_enter_element(p, i);
		int r = read_cell(p, json_array_get(array, i), &row->cell[i]);

		if (r < 0)
			return r;
		json_leave(p, element);
	}
	json_leave(p, length);
	return 0;
}

/* A name that is given twice would make two things of one. */
static bool row_is_new(const struct comparison *c, const struct row *row)
{
	return comparison_find_row(c, row->name) == row;
}

static int read_row(struct json_place *p, const json_t *value, struct comparison *c)
{
	struct row *row = comparison_add_row(c);
	int r = row ? json_to_struct(p, JSON_FIELDS(json_row), value, row) : -ENOMEM;

	if (r < 0)
		return r;
	if (!*row->name || !row_is_new(c, row))
		return json_bad(p, *row->name ? "a second row of this name" : "a row without a name");
	return read_cells(p, value, c, row);
}

static bool column_is_new(const struct comparison *c, const struct column *column)
{
	for (const struct column *i = c->column; i < column; i++)
		if (!strcmp(i->name, column->name))
			return false;
	return true;
}

static int read_column(struct json_place *p, const json_t *value, struct comparison *c)
{
	struct column *column = comparison_add_column(c);
	int r = column ? json_to_struct(p, JSON_FIELDS(json_column), value, column) : -EINVAL;

	if (r < 0)
		return r;
	if (!*column->name || !column_is_new(c, column))
		return json_bad(p, *column->name ? "a second column of this name" : "a column without a name");
	return 0;
}

static int read_list(struct json_place *p, const json_t *root, const char *name, size_t least, size_t most,
		     int (*read_one)(struct json_place *p, const json_t *value, struct comparison *c), struct comparison *c)
{
	const json_t *array = json_array_in(p, root, name, least, most);
	size_t length = json_enter(p, name);

	if (!array)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(array); i++) {
		size_t element = json_enter_element(p, i);
		int r = read_one(p, json_array_get(array, i), c);

		if (r < 0)
			return r;
		json_leave(p, element);
	}
	json_leave(p, length);
	return 0;
}

static int read_root(struct json_place *p, const json_t *root, struct comparison *c)
{
	const json_t *version = json_object_get(root, "penumbra_comparison");
	int r;

	if (!json_is_integer(version))
		return json_bad(p, "not a comparison that `penumbra compare --json` has written");
	if (json_integer_value(version) != COMPARISON_JSON_VERSION)
		return json_bad(p, "a comparison of format %" JSON_INTEGER_FORMAT "; this program reads format %d",
				json_integer_value(version), COMPARISON_JSON_VERSION);
	r = json_to_struct(p, JSON_FIELDS(json_whole), root, c);
	if (r == 0)
		r = read_list(p, root, "columns", 1, COMPARISON_MAX_COLUMNS, read_column, c);
	if (r == 0)
		r = read_list(p, root, "rows", 0, COMPARISON_MAX_ROWS, read_row, c);
	return r;
}

int comparison_from_json_text(struct comparison *c, const char *text, size_t size, struct comparison_reason *why)
{
	struct json_place p = {.path = ""};
	json_error_t error;
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	int r;

	if (root)
		r = read_root(&p, root, c);
	else
		r = json_bad(&p, "not JSON: %s, in line %d", error.text, error.line);
	if (r < 0)
		comparison_free(c);
	snprintf(why->text, sizeof(why->text), "%s", p.why);
	json_decref(root);
	return r;
}

/* Up to `room` bytes, and how many of them there were. */
static int read_all(int fd, const char *name, char *to, size_t room, size_t *size)
{
	*size = 0;
	while (*size < room) {
		ssize_t n = read(fd, to + *size, room - *size);

		if (n < 0 && errno != EINTR)
			return log_errno(errno, "%s", name);
		if (n == 0)
			return 0;
		*size += n > 0 ? (size_t)n : 0;
	}
	return log_bad(EFBIG, "%s: larger than %u MiB, which no comparison is", name, COMPARISON_JSON_MAX >> 20);
}

static int read_file(struct comparison *c, const char *name, int fd)
{
	char *text = malloc(COMPARISON_JSON_MAX + 1);
	struct comparison_reason why;
	size_t size;
	int r;

	if (!text)
		return log_errno(ENOMEM, "%s", name);
	r = read_all(fd, name, text, COMPARISON_JSON_MAX + 1, &size);
	if (r == 0)
		r = comparison_from_json_text(c, text, size, &why);
	if (r == -EINVAL)
		log_bad(EINVAL, "%s: %s", name, why.text);
	free(text);
	return r;
}

int comparison_from_json(struct comparison *c, const char *path)
{
	int fd, r;

	if (!strcmp(path, "-"))
		return read_file(c, "standard input", STDIN_FILENO);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(errno, "%s", *path ? path : "(empty name)");
	r = read_file(c, path, fd);
	close(fd);
	return r;
}
