/*
 * What becomes of pages that are idle. A look is taken without any protection, at the page itself, or at a copy of what is to be packed,
 * and a plan is made; exchange.h sees to it that nothing comes of it if the page has changed. What a plan needs (a slot, an
 * object) is needed before the page is touched.
 *
 * Scavenging thread only, not under the group's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dedup/exchange.h"
#include "dedup/similar.h"
#include "vmm/scavenging.h"
#include "vmm/userfault.h"

struct codec;
struct map_budget;
struct ward;

#define LOOK_PAGES USERFAULT_RUN /* at a time */

/* What a look is taken with; the scavenging thread has one. */
struct look {
	enum scavenge_stage last; /* what is done, up to this */
	struct map_budget *budget;
	struct codec *codec;
	struct plan plan[LOOK_PAGES];
	struct plan others[LOOK_PAGES]; /* of pages that these were found equal to */
	const void *at[LOOK_PAGES]; /* the page, or its copy */
	uint32_t hash[LOOK_PAGES];
	struct similar_sketch sketch[LOOK_PAGES];
	uint8_t copy[LOOK_PAGES][PAGE_SIZE];
	uint8_t reference[PAGE_SIZE];
};

/* n pages of one region that have become idle: they are zero, or equal to others; or they get into the indexes. */
void look_at_idle(struct look *l, struct ward *w, uint64_t page, unsigned int n);

/* n pages of one region that have been idle for long: they go cold if they can, as many as w->allowance allows; the others wait. */
void look_at_cold(struct look *l, struct ward *w, uint64_t page, unsigned int n);
