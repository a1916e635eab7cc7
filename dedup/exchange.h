/*
 * Exchanges pages of a ward as it was planned, while the guest runs; what has changed since it was looked at is left as it is.
 * Scavenging thread only, not under the group's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dedup/record.h"

struct ward;

enum act { ACT_NONE, ACT_ZERO, ACT_SHOW, ACT_EVICT };

struct plan {
	enum act act;
	page_record record; /* what the page becomes; its slot and object are needed already */
	const void *like;   /* only if it holds these bytes: a slot's, or what it was looked at by; NULL: if it is zero */
};

/*
 * n pages from `page` on, of one region. What one of them needed and does not get is released. Runs of the same act are exchanged
 * together; those that are shown from slots in order, too.
 */
void exchange(struct ward *w, uint64_t page, unsigned int n, const struct plan *plan);
