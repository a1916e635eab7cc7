#include "replay/event.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/ensure.h"

/*
 * The first byte has the kind, and above it how much later than the event before this one came. Most come soon: what does not fit
 * follows as a number.
 */
#define KIND_BITS 4u
#define KIND_MASK ((1u << KIND_BITS) - 1)
#define LATER_FITS (UINT8_MAX >> KIND_BITS)

_Static_assert(EVENT_KINDS <= KIND_MASK + 1, "a kind fits");

#define NUMBER_BITS 7u
#define NUMBER_MORE 0x80u
#define NUMBER_MOST 10u /* bytes of one of 64 bits */

/* Bytes that are still to be read. Once too few were there, nothing is read any more. */
struct source {
	const uint8_t *at, *end;
	bool bad;
};

/* Seven bits a byte, the lowest first (LEB128; DWARF 5, 7.6). */
static uint8_t *put_number(uint8_t *to, uint64_t n)
{
	for (; n >= NUMBER_MORE; n >>= NUMBER_BITS)
		*to++ = (uint8_t)(n | NUMBER_MORE);
	*to++ = (uint8_t)n;
	return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *bytes, size_t size)
{
	if (size)
		memcpy(to, bytes, size);
	return to + size;
}

static const uint8_t *take(struct source *s, size_t size)
{
	const uint8_t *at = s->at;

	s->bad |= size > (size_t)(s->end - s->at);
	if (s->bad)
		return NULL;
	s->at += size;
	return at;
}

static void take_into(struct source *s, void *to, size_t size)
{
	const uint8_t *at = take(s, size);

	if (at)
		memcpy(to, at, size);
}

static uint8_t take_byte(struct source *s)
{
	const uint8_t *at = take(s, 1);

	return at ? *at : 0;
}

/* There is one way to write a number: none ends in a byte that adds nothing, and none has more than 64 bits. */
static uint64_t take_number(struct source *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < NUMBER_MOST && !s->bad; i++) {
		uint8_t byte = take_byte(s);

		s->bad |= i == NUMBER_MOST - 1 && byte > 1;
		n |= (uint64_t)(byte & ~NUMBER_MORE) << i * NUMBER_BITS;
		if (byte & NUMBER_MORE)
			continue;
		s->bad |= i && !byte;
		return n;
	}
	s->bad = true;
	return 0;
}

static uint8_t *put_external(const struct event *e, uint8_t *to)
{
	ensure(e->external.size <= EVENT_EXTERNAL_MOST);
	*to++ = (uint8_t)e->external.source;
	to = put_number(to, e->external.size);
	return put_bytes(to, e->external.bytes, e->external.size);
}

static void take_external(struct event *e, struct source *s)
{
	uint8_t source = take_byte(s);
	uint64_t size = take_number(s);

	s->bad |= source >= ACCESS_SOURCES || size > EVENT_EXTERNAL_MOST;
	e->external.source = (enum access_source)source;
	e->external.size = (uint32_t)size;
	e->external.bytes = s->bad ? NULL : take(s, size);
}

static uint8_t *put_clock(const struct event *e, uint8_t *to)
{
	return put_number(to, e->ns);
}

static void take_clock(struct event *e, struct source *s)
{
	e->ns = take_number(s);
}

static uint8_t *put_interrupt(const struct event *e, uint8_t *to)
{
	*to++ = e->interrupt.vector;
	return put_bytes(to, &e->interrupt.registers, sizeof(e->interrupt.registers));
}

static void take_interrupt(struct event *e, struct source *s)
{
	e->interrupt.vector = take_byte(s);
	take_into(s, &e->interrupt.registers, sizeof(e->interrupt.registers));
}

static uint8_t *put_checks(const struct event *e, uint8_t *to)
{
	*to++ = e->checks.count;
	return put_bytes(to, e->checks.bytes, e->checks.count);
}

static void take_checks(struct event *e, struct source *s)
{
	e->checks.count = take_byte(s);
	s->bad |= !e->checks.count;
	e->checks.bytes = take(s, e->checks.count);
}

static uint8_t *put_state(const struct event *e, uint8_t *to)
{
	ensure(e->packed.size <= EVENT_PACKED_MOST);
	to = put_number(to, e->packed.size);
	return put_bytes(to, e->packed.bytes, e->packed.size);
}

static void take_state(struct event *e, struct source *s)
{
	uint64_t size = take_number(s);

	s->bad |= size > EVENT_PACKED_MOST;
	e->packed.size = (uint32_t)size;
	e->packed.bytes = s->bad ? NULL : take(s, size);
}

static uint8_t *put_page(const struct event *e, uint8_t *to)
{
	return put_state(e, put_number(to, e->packed.page));
}

static void take_page(struct event *e, struct source *s)
{
	e->packed.page = take_number(s);
	take_state(e, s);
}

static uint8_t *put_end(const struct event *e, uint8_t *to)
{
	*to++ = e->end.how;
	*to++ = e->end.code;
	to = put_bytes(to, &e->end.ram, sizeof(e->end.ram));
	ensure(e->end.size <= EVENT_PAGING_MOST);
	*to++ = e->end.size;
	return put_bytes(to, e->end.paging, e->end.size);
}

static void take_end(struct event *e, struct source *s)
{
	e->end.how = take_byte(s);
	s->bad |= !e->end.how || e->end.how > EVENT_HOW_MOST;
	e->end.code = take_byte(s);
	take_into(s, &e->end.ram, sizeof(e->end.ram));
	e->end.size = take_byte(s);
	s->bad |= e->end.size > EVENT_PAGING_MOST;
	e->end.paging = (const char *)take(s, e->end.size);
}

_Static_assert(sizeof(struct event_row) == 12, "as documented");

static uint8_t *put_digest(const struct event *e, uint8_t *to)
{
	ensure(e->digest.size <= EVENT_PAGING_MOST && e->digest.rows <= EVENT_DIGEST_ROWS_MOST && (e->digest.size || !e->digest.rows));
	ensure(!e->digest.registers || e->digest.registers == EVENT_DIGEST_REGISTERS);
	*to++ = e->digest.registers;
	to = put_bytes(to, e->digest.register_bytes, sizeof(uint64_t) * e->digest.registers);
	*to++ = e->digest.size;
	if (!e->digest.size)
		return to;
	to = put_bytes(to, e->digest.paging, e->digest.size);
	to = put_bytes(to, &e->digest.ram, sizeof(e->digest.ram));
	*to++ = e->digest.rows;
	return put_bytes(to, e->digest.row_bytes, sizeof(struct event_row) * e->digest.rows);
}

static void take_digest(struct event *e, struct source *s)
{
	e->digest.registers = take_byte(s);
	s->bad |= e->digest.registers && e->digest.registers != EVENT_DIGEST_REGISTERS;
	e->digest.register_bytes = take(s, sizeof(uint64_t) * e->digest.registers);
	e->digest.size = take_byte(s);
	s->bad |= e->digest.size > EVENT_PAGING_MOST;
	if (!e->digest.size)
		return;
	e->digest.paging = (const char *)take(s, e->digest.size);
	take_into(s, &e->digest.ram, sizeof(e->digest.ram));
	e->digest.rows = take_byte(s);
	s->bad |= e->digest.rows > EVENT_DIGEST_ROWS_MOST;
	e->digest.row_bytes = take(s, sizeof(struct event_row) * e->digest.rows);
}

struct event_row event_row(const struct event *e, unsigned int i)
{
	struct event_row row;

	memcpy(&row, (const uint8_t *)e->digest.row_bytes + i * sizeof(row), sizeof(row));
	return row;
}

uint64_t event_register(const struct event *e, unsigned int i)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)e->digest.register_bytes + i * sizeof(value), sizeof(value));
	return value;
}

static uint8_t *put_mark(const struct event *e, uint8_t *to)
{
	*to++ = (uint8_t)e->mark.what;
	if (e->mark.what != MARK_BEGUN)
		to = put_bytes(to, e->mark.id, sizeof(e->mark.id));
	if (e->mark.what == MARK_SAVED)
		to = put_bytes(to, &e->mark.digest, sizeof(e->mark.digest));
	if (e->mark.what == MARK_COPIED)
		to = put_bytes(to, e->mark.of, sizeof(e->mark.of));
	return to;
}

static void take_mark(struct event *e, struct source *s)
{
	uint8_t what = take_byte(s);

	s->bad |= what >= EVENT_MARKS;
	e->mark.what = (enum event_mark)what;
	if (what != MARK_BEGUN)
		take_into(s, e->mark.id, sizeof(e->mark.id));
	if (what == MARK_SAVED)
		take_into(s, &e->mark.digest, sizeof(e->mark.digest));
	if (what == MARK_COPIED)
		take_into(s, e->mark.of, sizeof(e->mark.of));
}

static const struct {
	uint8_t *(*put)(const struct event *e, uint8_t *to);
	void (*take)(struct event *e, struct source *s);
} kinds[EVENT_KINDS] = {
	[EVENT_EXTERNAL] = {put_external, take_external},
	[EVENT_CLOCK] = {put_clock, take_clock},
	[EVENT_INTERRUPT] = {put_interrupt, take_interrupt},
	[EVENT_CHECKS] = {put_checks, take_checks},
	[EVENT_PAGE] = {put_page, take_page},
	[EVENT_STATE] = {put_state, take_state},
	[EVENT_END] = {put_end, take_end},
	[EVENT_DIGEST] = {put_digest, take_digest},
	[EVENT_MARK] = {put_mark, take_mark},
};

size_t event_room(const struct event *e)
{
	size_t brought = 0;

	switch (e->kind) {
	case EVENT_EXTERNAL: brought = e->external.size; break;
	case EVENT_CHECKS: brought = e->checks.count; break;
	case EVENT_PAGE:
	case EVENT_STATE: brought = e->packed.size; break;
	case EVENT_END: brought = e->end.size; break;
	case EVENT_DIGEST:
		brought = e->digest.size + sizeof(uint64_t) * e->digest.registers + sizeof(struct event_row) * e->digest.rows;
		break;
	default: break;
	}
	return EVENT_HEAD_MOST + brought;
}

size_t event_encode(const struct event *e, uint64_t from, uint8_t *to)
{
	uint64_t later = e->position - from;
	uint8_t *start = to;

	ensure(e->kind < EVENT_KINDS && e->position >= from);
	*to++ = (uint8_t)(e->kind | (later < LATER_FITS ? later : LATER_FITS) << KIND_BITS);
	if (later >= LATER_FITS)
		to = put_number(to, later - LATER_FITS);
	return (size_t)(kinds[e->kind].put(e, to) - start);
}

size_t event_decode(struct event *e, uint64_t from, const uint8_t *bytes, size_t size)
{
	struct source s = {.at = bytes, .end = bytes + size};
	uint8_t first = take_byte(&s);
	uint64_t later = first >> KIND_BITS;

	*e = (struct event){.kind = (enum event_kind)(first & KIND_MASK)};
	if (s.bad || e->kind >= EVENT_KINDS)
		return 0;
	if (later == LATER_FITS)
		s.bad |= __builtin_add_overflow(later, take_number(&s), &later);
	s.bad |= __builtin_add_overflow(from, later, &e->position);
	if (!s.bad)
		kinds[e->kind].take(e, &s);
	return s.bad ? 0 : (size_t)(s.at - bytes);
}
