#include "vmm/state.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/ensure.h"

#define NAME_SIZE 8u
#define HEADER_SIZE (NAME_SIZE + 4u + 4u)

static void fail(struct state *s, const char *why)
{
	if (!s->error)
		s->error = why;
}

void state_save_init(struct state *s)
{
	memset(s, 0, sizeof(*s));
	s->direction = STATE_SAVE;
}

void state_load_init(struct state *s, const void *bytes, size_t size)
{
	memset(s, 0, sizeof(*s));
	s->direction = STATE_LOAD;
	s->bytes = (uint8_t *)(uintptr_t)bytes; /* one field for both directions; a load only reads it */
	s->size = size;
}

void state_free(struct state *s)
{
	if (s->direction == STATE_SAVE)
		free(s->bytes);
	s->bytes = NULL;
	s->size = s->capacity = 0;
}

bool state_loading(const struct state *s)
{
	return s->direction == STATE_LOAD;
}

static bool reserve(struct state *s, size_t more)
{
	size_t capacity = s->capacity ? s->capacity : 256;
	uint8_t *bytes;

	if (s->error)
		return false;
	if (more <= s->capacity - s->size)
		return true;
	while (capacity - s->size < more) {
		if (capacity > SIZE_MAX / 2) {
			fail(s, "state: too large");
			return false;
		}
		capacity *= 2;
	}
	bytes = realloc(s->bytes, capacity);
	if (!bytes) {
		fail(s, "state: out of memory");
		return false;
	}
	s->bytes = bytes;
	s->capacity = capacity;
	return true;
}

static void save_bytes(struct state *s, const void *v, size_t size)
{
	if (!size || !reserve(s, size))
		return;
	memcpy(s->bytes + s->size, v, size);
	s->size += size;
}

/* Where reading must stop: the end of the innermost section. */
static size_t load_end(const struct state *s)
{
	return s->depth ? s->section[s->depth - 1] : s->size;
}

static void load_bytes(struct state *s, void *v, size_t size)
{
	if (!s->error && size > load_end(s) - s->at)
		fail(s, "state: truncated");
	if (s->error) {
		memset(v, 0, size);
		return;
	}
	if (size)
		memcpy(v, s->bytes + s->at, size);
	s->at += size;
}

void state_bytes(struct state *s, void *v, size_t size)
{
	if (state_loading(s))
		load_bytes(s, v, size);
	else
		save_bytes(s, v, size);
}

static uint64_t visit_number(struct state *s, uint64_t v, size_t size)
{
	uint8_t raw[8] = { 0 };

	for (size_t i = 0; i < size; i++)
		raw[i] = (uint8_t)(v >> (8 * i));
	state_bytes(s, raw, size);
	v = 0;
	for (size_t i = 0; i < size; i++)
		v |= (uint64_t)raw[i] << (8 * i);
	return v;
}

void state_u8(struct state *s, uint8_t *v)
{
	*v = (uint8_t)visit_number(s, state_loading(s) ? 0 : *v, sizeof(*v));
}

void state_u16(struct state *s, uint16_t *v)
{
	*v = (uint16_t)visit_number(s, state_loading(s) ? 0 : *v, sizeof(*v));
}

void state_u32(struct state *s, uint32_t *v)
{
	*v = (uint32_t)visit_number(s, state_loading(s) ? 0 : *v, sizeof(*v));
}

void state_u64(struct state *s, uint64_t *v)
{
	*v = visit_number(s, state_loading(s) ? 0 : *v, sizeof(*v));
}

void state_bool(struct state *s, bool *v)
{
	uint8_t byte = state_loading(s) ? 0 : *v; /* what a load overwrites may be no bool yet */

	state_u8(s, &byte);
	state_check(s, byte <= 1, "state: a flag is neither 0 nor 1");
	*v = byte == 1;
}

static uint32_t save_begin(struct state *s, const uint8_t name[NAME_SIZE], uint32_t version)
{
	uint32_t length = 0; /* known at state_end() */

	s->section[s->depth++] = s->size;
	state_bytes(s, (uint8_t *)(uintptr_t)name, NAME_SIZE);
	state_u32(s, &version);
	state_u32(s, &length);
	return version;
}

static uint32_t load_begin(struct state *s, const uint8_t name[NAME_SIZE], uint32_t version)
{
	uint8_t found_name[NAME_SIZE];
	uint32_t found, length;

	load_bytes(s, found_name, NAME_SIZE);
	state_u32(s, &found);
	state_u32(s, &length);
	state_check(s, !memcmp(name, found_name, NAME_SIZE), "state: another section was expected");
	state_check(s, found >= 1 && found <= version, "state: section of an unknown version");
	state_check(s, length <= load_end(s) - s->at, "state: section reaches past its end");
	s->section[s->depth++] = s->error ? s->at : s->at + length;
	return s->error ? 0 : found;
}

uint32_t state_begin(struct state *s, const char *name, uint32_t version)
{
	uint8_t padded[NAME_SIZE] = { 0 };
	size_t length = strlen(name);

	ensure(length && length <= NAME_SIZE);
	ensure(version >= 1);
	ensure(s->depth < STATE_MAX_DEPTH);
	memcpy(padded, name, length);
	return state_loading(s) ? load_begin(s, padded, version) : save_begin(s, padded, version);
}

static void save_end(struct state *s, size_t header)
{
	size_t length;

	if (s->error)
		return;
	length = s->size - header - HEADER_SIZE;
	if (length > UINT32_MAX) {
		fail(s, "state: section too large");
		return;
	}
	for (unsigned int i = 0; i < 4; i++)
		s->bytes[header + NAME_SIZE + 4 + i] = (uint8_t)(length >> (8 * i));
}

void state_end(struct state *s)
{
	size_t section;

	ensure(s->depth > 0);
	section = s->section[--s->depth];
	if (state_loading(s))
		state_check(s, s->at == section, "state: section longer than its contents");
	else
		save_end(s, section);
}

void state_check(struct state *s, bool ok, const char *why)
{
	if (state_loading(s)) {
		if (!ok)
			fail(s, why);
		return;
	}
	ensure(ok);
}

const char *state_error(struct state *s)
{
	if (s->depth)
		fail(s, "state: a section was left open");
	if (state_loading(s) && s->at != s->size)
		fail(s, "state: bytes left over");
	return s->error;
}
