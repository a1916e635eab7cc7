/*
 * Plain structs as JSON objects: a table of fields is followed in both directions, so that what is written and what is read
 * cannot drift apart. What is read is hostile until it has passed here.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum json_kind {
	JSON_FIELD_TEXT,   /* char [size]: printable UTF-8 that fits */
	JSON_FIELD_BOOL,   /* bool */
	JSON_FIELD_UINT,   /* unsigned int, up to `most` */
	JSON_FIELD_UINT64, /* uint64_t, up to `most` */
	JSON_FIELD_NUMBER, /* double from 0 to `most` */
};

struct json_field {
	const char *name;
	enum json_kind kind;
	size_t offset, size;
	double most;
};

#define JSON_TEXT(type, member) {#member, JSON_FIELD_TEXT, offsetof(type, member), sizeof(((type *)0)->member), 0}
#define JSON_BOOL(type, member) {#member, JSON_FIELD_BOOL, offsetof(type, member), sizeof(bool), 0}
#define JSON_UINT(type, member, most) {#member, JSON_FIELD_UINT, offsetof(type, member), sizeof(unsigned int), most}
#define JSON_UINT64(type, member, most) {#member, JSON_FIELD_UINT64, offsetof(type, member), sizeof(uint64_t), most}
#define JSON_NUMBER(type, member, most) {#member, JSON_FIELD_NUMBER, offsetof(type, member), sizeof(double), most}

/* Where a reader stands, for its complaint. */
struct json_place {
	char path[160]; /* "rows[3].cells[0]" */
	char why[320];	/* what json_bad() said */
};

/* Goes into a member of an object, or an element of an array; json_leave() goes back to the length that they return. */
size_t json_enter(struct json_place *p, const char *name);
size_t json_enter_element(struct json_place *p, size_t i);
void json_leave(struct json_place *p, size_t length);

/* Complains: p->why is `PATH: FMT…`. Returns -EINVAL. */
int json_bad(struct json_place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text that is printable as it is: no control characters, whole UTF-8, and it fits into `room` with its end. 0 or json_bad(). */
int json_copy_text(struct json_place *p, const json_t *value, char *to, size_t room);

/* A number from 0 to `most`. 0 or json_bad(). */
int json_take_number(struct json_place *p, const json_t *value, double most, double *to);

/* A new object, NULL without memory; the caller's to json_decref(). */
json_t *json_from_struct(const struct json_field *fields, size_t count, const void *from);

/* All fields must be there; what is there besides is passed over. Returns 0 or json_bad(). */
int json_to_struct(struct json_place *p, const struct json_field *fields, size_t count, const json_t *object, void *to);

/* The member of an object, which must be an array of `least` to `most` elements; NULL after json_bad() if it is not. */
const json_t *json_array_in(struct json_place *p, const json_t *object, const char *name, size_t least, size_t most);
