/*
 * Whether two events are the same, by their meaning.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "replay/event.h"

static inline bool mark_equal(const struct event *a, const struct event *b)
{
	if (a->mark.what != b->mark.what || (a->mark.what == MARK_SAVED && a->mark.digest != b->mark.digest))
		return false;
	if (a->mark.what == MARK_COPIED && memcmp(a->mark.of, b->mark.of, EVENT_ID_BYTES) != 0)
		return false;
	return a->mark.what == MARK_BEGUN || !memcmp(a->mark.id, b->mark.id, EVENT_ID_BYTES);
}

static inline bool event_equal(const struct event *a, const struct event *b)
{
	if (a->kind != b->kind || a->position != b->position)
		return false;
	switch (a->kind) {
	case EVENT_EXTERNAL:
		return a->external.source == b->external.source && a->external.size == b->external.size &&
		       !memcmp(a->external.bytes, b->external.bytes, a->external.size);
	case EVENT_CLOCK: return a->ns == b->ns;
	case EVENT_INTERRUPT: return a->interrupt.vector == b->interrupt.vector && a->interrupt.registers == b->interrupt.registers;
	case EVENT_CHECKS: return a->checks.count == b->checks.count && !memcmp(a->checks.bytes, b->checks.bytes, a->checks.count);
	case EVENT_PAGE:
	case EVENT_STATE:
		return a->packed.page == b->packed.page && a->packed.size == b->packed.size &&
		       !memcmp(a->packed.bytes, b->packed.bytes, a->packed.size);
	case EVENT_DIGEST:
		if (a->digest.registers != b->digest.registers || a->digest.size != b->digest.size ||
		    (a->digest.registers && memcmp(a->digest.register_bytes, b->digest.register_bytes, 8u * a->digest.registers)))
			return false;
		return !a->digest.size || (!memcmp(a->digest.paging, b->digest.paging, a->digest.size) && a->digest.ram == b->digest.ram &&
					   a->digest.rows == b->digest.rows &&
					   !memcmp(a->digest.row_bytes, b->digest.row_bytes, sizeof(struct event_row) * a->digest.rows));
	case EVENT_MARK: return mark_equal(a, b);
	default: return a->end.how == b->end.how && a->end.code == b->end.code && a->end.ram == b->end.ram && a->end.size == b->end.size &&
			!memcmp(a->end.paging, b->end.paging, a->end.size);
	}
}
