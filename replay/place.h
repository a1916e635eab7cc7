/*
 * A place in a replay, down to the instruction: so many accesses, all that was due then brought (replayer_rest()), and from there moves, each
 * of which ends at the same instruction whenever it is made again. Nothing has to count instructions for that, but who steps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct debug_point;

enum move_kind {
	MOVE_STEP,	  /* one instruction */
	MOVE_RUN,	  /* off the breakpoint it stands on, if it does, and to the next stop */
	MOVE_RUN_AT_ONCE, /* the same, but the breakpoint that it stands on stops it */
};

/* Points that were in force. They are kept as long as anybody may come back: a place refers to them by number. */
struct point_set {
	struct debug_point *point;
	unsigned int count;
};

struct point_sets {
	struct point_set *set;
	size_t count;
};

struct move {
	enum move_kind kind;
	uint32_t times;
	size_t points; /* number of the set; of a step nothing */
};

struct place {
	uint64_t position;
	struct move *move;
	size_t count, room;
};

/* All of these return 0 or a logged -ENOMEM. */
int point_sets_find(struct point_sets *s, const struct debug_point *point, unsigned int count, size_t *number);
int place_copy(struct place *to, const struct place *from);
int place_add(struct place *p, enum move_kind kind, size_t points);

void point_sets_free(struct point_sets *s);

/* The place is the position itself. */
void place_set(struct place *p, uint64_t position);

/* Takes back the last move of all, one time of it. There is one. */
void place_take_back(struct place *p);

void place_free(struct place *p);
