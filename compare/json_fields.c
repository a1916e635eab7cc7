#include "compare/json_fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "vmm/printable.h"

size_t json_enter(struct json_place *p, const char *name)
{
	size_t length = strlen(p->path);

	snprintf(p->path + length, sizeof(p->path) - length, "%s%s", length ? "." : "", name);
	return length;
}

size_t json_enter_element(struct json_place *p, size_t i)
{
	size_t length = strlen(p->path);

	snprintf(p->path + length, sizeof(p->path) - length, "[%zu]", i);
	return length;
}

void json_leave(struct json_place *p, size_t length)
{
	p->path[length] = '\0';
}

int json_bad(struct json_place *p, const char *fmt, ...)
{
	size_t length = strlen(p->path);
	va_list args;

	snprintf(p->why, sizeof(p->why), "%s%s", p->path, length ? ": " : "");
	length = strlen(p->why);
	va_start(args, fmt);
	vsnprintf(p->why + length, sizeof(p->why) - length, fmt, args);
	va_end(args);
	return -EINVAL;
}

int json_copy_text(struct json_place *p, const json_t *value, char *to, size_t room)
{
	size_t length = json_string_length(value);

	if (!json_is_string(value))
		return json_bad(p, "not a text");
	if (length >= room)
		return json_bad(p, "longer than %zu bytes", room - 1);
	printable(to, room, json_string_value(value), length);
	if (strlen(to) != length || memcmp(to, json_string_value(value), length))
		return json_bad(p, "has characters that cannot be printed");
	return 0;
}

int json_take_number(struct json_place *p, const json_t *value, double most, double *to)
{
	if (!json_is_number(value))
		return json_bad(p, "not a number");
	*to = json_number_value(value);
	if (!(*to >= 0 && *to <= most))
		return json_bad(p, "not a number from 0 to %g", most);
	return 0;
}

static int take_integer(struct json_place *p, const json_t *value, double most, uint64_t *to)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 || (double)json_integer_value(value) > most)
		return json_bad(p, "not a whole number from 0 to %.0f", most);
	*to = (uint64_t)json_integer_value(value);
	return 0;
}

static int take_uint(struct json_place *p, const json_t *value, double most, unsigned int *to)
{
	uint64_t n;
	int r = take_integer(p, value, most, &n);

	*to = r < 0 ? 0 : (unsigned int)n;
	return r;
}

static int take_bool(struct json_place *p, const json_t *value, bool *to)
{
	*to = json_is_true(value);
	return json_is_boolean(value) ? 0 : json_bad(p, "neither true nor false");
}

static int take_field(struct json_place *p, const struct json_field *f, const json_t *value, void *to)
{
	switch (f->kind) {
	case JSON_FIELD_TEXT: return json_copy_text(p, value, to, f->size);
	case JSON_FIELD_BOOL: return take_bool(p, value, to);
	case JSON_FIELD_UINT: return take_uint(p, value, f->most, to);
	case JSON_FIELD_UINT64: return take_integer(p, value, f->most, to);
	case JSON_FIELD_NUMBER: return json_take_number(p, value, f->most, to);
	}
	return -EINVAL;
}

int json_to_struct(struct json_place *p, const struct json_field *fields, size_t count, const json_t *object, void *to)
{
	if (!json_is_object(object))
		return json_bad(p, "not an object");
	for (size_t i = 0; i < count; i++) {
		const json_t *value = json_object_get(object, fields[i].name);
		size_t length = json_enter(p, fields[i].name);
		int r = value ? take_field(p, &fields[i], value, (char *)to + fields[i].offset) : json_bad(p, "is missing");

		if (r < 0)
			return r;
		json_leave(p, length);
	}
	return 0;
}

static json_t *field_value(const struct json_field *f, const void *from)
{
	switch (f->kind) {
	case JSON_FIELD_TEXT: return json_string(from);
	case JSON_FIELD_BOOL: return json_boolean(*(const bool *)from);
	case JSON_FIELD_UINT: return json_integer(*(const unsigned int *)from);
	case JSON_FIELD_UINT64: return json_integer((json_int_t)*(const uint64_t *)from);
	case JSON_FIELD_NUMBER: return json_real(*(const double *)from);
	}
	return NULL;
}

json_t *json_from_struct(const struct json_field *fields, size_t count, const void *from)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		if (json_object_set_new(object, fields[i].name, field_value(&fields[i], (const char *)from + fields[i].offset))) {
			json_decref(object);
			return NULL;
		}
	return object;
}

const json_t *json_array_in(struct json_place *p, const json_t *object, const char *name, size_t least, size_t most)
{
	const json_t *array = json_object_get(object, name);
	size_t length = json_enter(p, name);

	if (!json_is_array(array)) {
		json_bad(p, "not an array");
		return NULL;
	}
	if (json_array_size(array) < least || json_array_size(array) > most) {
		json_bad(p, "has %zu elements, not %zu to %zu", json_array_size(array), least, most);
		return NULL;
	}
	json_leave(p, length);
	return array;
}
