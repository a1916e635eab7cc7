/*
 * Moves a guest under a debugger through its time: on, by instructions or to the next point; and, in a replay, back, or to any position.
 *
 * Going back is going to a checkpoint before, and on from there (timeline.h). What lies between two places is found by going there once
 * more: the last stop before `here` by stopping at all of them, the last instruction by counting steps. Where the guest stands is always
 * known as a place (place.h), so that it can be found again.
 *
 * All functions are called on the vCPU's thread, the guest standing still.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "replay/place.h"
#include "replay/point_census.h"
#include "vmm/debug.h"

struct replayer;
struct timeline;
struct vm;

enum travel_end {
	TRAVEL_STEPPED,
	TRAVEL_POINT, /* at which it is: travel->stop */
	TRAVEL_INTERRUPTED,
	TRAVEL_BEGIN, /* of the recording */
	TRAVEL_END,   /* of the recording: it stands where that can still be looked at */
	TRAVEL_OVER,  /* the guest has ended, for whatever reason: there is nothing to be looked at */
};

struct travel {
	struct vm *vm;
	struct debug *debug;
	struct replayer *replayer; /* NULL: a guest that runs now */
	struct timeline *timeline; /* NULL: the same */
	_Atomic bool interrupted;  /* any thread sets it, and kicks the vCPU */
	struct debug_stop stop;
	struct place here;
	struct point_sets sets;
	size_t points;	  /* the user's: number of the set */
	uint64_t first;	  /* position */
	uint64_t looked;  /* host's time (ns) of the last checkpoint */
	struct point_census census;
	unsigned int hits; /* of the instruction at the asynchronous point that the guest walks to */
};

/*
 * At rest where a recording begins, or before a guest's first instruction. `alone`: nobody else wants to know which pages the guest uses
 * (mmu.h). Returns 0 or a logged -errno.
 */
int travel_begin(struct travel *t, struct vm *vm, struct debug *d, struct replayer *r, bool alone);
void travel_finish(struct travel *t);

/* The user's points are those of the VM's debugger (debug_insert()). They hold in either direction. */
enum travel_end travel_step(struct travel *t);
enum travel_end travel_run(struct travel *t);

/* In a replay only. */
enum travel_end travel_back(struct travel *t);
enum travel_end travel_run_back(struct travel *t);
enum travel_end travel_to(struct travel *t, uint64_t position);

/* Nobody looks any more: the guest is to run on without points. And somebody looks again, where it has got to. */
void travel_leave(struct travel *t);
enum travel_end travel_return(struct travel *t);
