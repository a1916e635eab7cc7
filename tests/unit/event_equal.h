/*
 * Whether two events are the same, by their meaning.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "replay/event.h"

static inline bool event_equal(const struct event *a, const struct event *b)
{
	if (a->kind != b->kind || a->position != b->position)
		return false;
	switch (a->kind) {
	case EVENT_EXTERNAL:
		return a->external.source == b->external.source && a->external.size == b->external.size &&
		       !memcmp(a->external.bytes, b->external.bytes, a->external.size);
	case EVENT_CLOCK: return a->ns == b->ns;
	case EVENT_INTERRUPT: return a->vector == b->vector;
	case EVENT_DIGEST: return a->digest == b->digest;
	default: return a->status == b->status;
	}
}
