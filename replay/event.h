/*
 * What a guest cannot work out again by itself: one thing that came to it from outside, and where it came. And its bytes in the log
 * (docs/recording-format.md).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/access.h"

enum event_kind {
	EVENT_EXTERNAL,	 /* bytes that a device brought */
	EVENT_CLOCK,	 /* the virtual clock was moved on */
	EVENT_INTERRUPT, /* an interrupt was taken */
	EVENT_DIGEST,	 /* of all accesses since the last one: what replay compares */
	EVENT_END,	 /* the last one: the guest has ended */
	EVENT_KINDS
};

#define EVENT_EXTERNAL_MOST 32768u /* bytes; more are several events */
#define EVENT_HEAD_MOST 32u /* bytes of an event beside those it brings */

struct event {
	enum event_kind kind;
	uint64_t position; /* accesses that were complete */
	union {
		struct {
			enum access_source source;
			uint32_t size;
			const void *bytes; /* whose: see who gives the event */
		} external;
		uint64_t ns; /* that the clock was moved by */
		uint8_t vector;
		uint64_t digest;
		uint32_t status; /* the guest's exit status, as the program's */
	};
};

/* At most so many bytes in the log. */
static inline size_t event_room(const struct event *e)
{
	return EVENT_HEAD_MOST + (e->kind == EVENT_EXTERNAL ? e->external.size : 0);
}

/* Writes the event, which is not before position `from`, to `to`, which has room for it: event_room(). Returns how many bytes. */
size_t event_encode(const struct event *e, uint64_t from, uint8_t *to);

/*
 * Reads the event that `bytes` begin with, which came after position `from`; bytes of it are left where they are. Returns how many
 * there were, or 0: they are no event.
 */
size_t event_decode(struct event *e, uint64_t from, const uint8_t *bytes, size_t size);
