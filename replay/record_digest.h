/*
 * When a recorder writes down digests, and what is in them. They may cost a bounded share of the guest's time and of the log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/boundary.h"
#include "replay/paging_name.h"
#include "replay/state_digest.h"

struct record_digest {
	struct state_digest state;
	uint64_t not_before_ns; /* of the host's time */
	uint64_t from;		/* accesses and events there were, the last time */
	uint64_t registers[BOUNDARY_REGISTERS];
	struct event_row rows[EVENT_DIGEST_ROWS_MOST];
	char paging[PAGING_NAME_ROOM];
};

void record_digest_begin(struct record_digest *r, struct vm *vm);

/* `now`: accesses and events there were. */
bool record_digest_is_due(const struct record_digest *r, uint64_t now);

/* It is due, but cannot be done here: later. */
void record_digest_put_off(struct record_digest *r);

/*
 * The event, but for its position. `at` = NULL: the guest has ended. `mmu` = NULL: it was changed, so that RAM cannot be compared.
 * Its bytes are there until the next one. Returns 0 or a logged -errno.
 */
int record_digest_take(struct record_digest *r, const struct program *p, const struct mmu_ops *mmu, const struct boundary *at,
		       struct event *e, uint64_t now);
