/*
 * The moves of a guest under a debugger that others are made of: one instruction, or on until something stops it. In a replay the guest
 * stands at rest (replayer_rest()) behind each access it is stopped at, and walks to asynchronous points. Internal to travel.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/travel.h"
#include "vmm/vm.h"

#define NO_LIMIT UINT64_MAX

enum halt {
	HALT_STEPPED,
	HALT_POINT, /* travel->stop */
	HALT_LIMIT,
	HALT_INTERRUPTED, /* anywhere */
	HALT_ENDED,	  /* the VM has */
};

static inline uint64_t travel_position(const struct travel *t)
{
	return t->vm->vcpu.port.position;
}

/* At rest at this position. False: the VM has ended. */
bool guest_rest(struct travel *t);

/* One instruction, whatever breakpoints are there. */
enum halt guest_step(struct travel *t);

/* To the next point, or to the first access from which on the position is `limit` or more. Breakpoints where it stands count. */
enum halt guest_run(struct travel *t, uint64_t limit);

/* The same, but off the breakpoint where it stands. */
enum halt guest_run_off(struct travel *t, uint64_t limit);

/* Makes a move, without a limit. */
enum halt guest_move(struct travel *t, enum move_kind kind);

/* Where a move of that kind, which ended in a stop, has led from `p`. Returns 0 or a logged -ENOMEM. */
int guest_arrived(const struct travel *t, struct place *p, enum move_kind kind, size_t points);
