#include "replay/travel_back.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/timeline.h"
#include "replay/travel_run.h"
#include "vmm/cpu_state.h"
#include "vmm/log.h"
#include "vmm/mmu.h"

/* The user has had enough, or the guest cannot be made to go on: to where it was. */
static enum travel_end give_up(struct travel *t)
{
	t->interrupted = false;
	if (!travel_puts_instead(t) && t->vm->end.kind == VM_DIVERGED)
		log_print(LOG_WARN, "%s", t->vm->end.reason);
	return travel_stand_at(t, &t->here, TRAVEL_INTERRUPTED);
}

/* By steps from `at`, where the guest stands, to the one before the access that leads to position `end`. False: it does not get there. */
static bool step_to_access(struct travel *t, struct place *at, uint64_t end)
{
	for (;;) {
		enum halt h = guest_step(t);

		if ((h != HALT_STEPPED && h != HALT_POINT) || vm_ended(t->vm))
			return false;
		if (travel_position(t) >= end)
			return true;
		if (guest_arrived(t, at, MOVE_STEP, 0) < 0)
			return false;
	}
}

/* An instruction may make several accesses: only where it ends the guest can stand. */
static enum travel_end back_over_access(struct travel *t)
{
	struct place at = {0};
	enum travel_end end;
	uint64_t position = t->here.position;
	int r = 0;

	do {
		if (position == t->first)
			return travel_stand_at(t, &t->here, TRAVEL_BEGIN);
		place_set(&at, --position);
		r = travel_go(t, &at);
		place_set(&at, travel_position(t));
	} while (r == 0 && at.position >= t->here.position);
	end = r == 0 && step_to_access(t, &at, t->here.position) ? travel_stand_at(t, &at, TRAVEL_STEPPED) : give_up(t);
	place_free(&at);
	return end;
}

/* By steps from `at`, where the guest stands, to the one before the next stop. */
static bool step_to_stop(struct travel *t, struct place *at)
{
	for (;;) {
		enum halt h = guest_step(t);

		if (h == HALT_POINT || (h == HALT_STEPPED && debug_is_at_break(t->vm)))
			return true;
		if (h != HALT_STEPPED || guest_arrived(t, at, MOVE_STEP, 0) < 0)
			return false;
	}
}

static enum travel_end back(struct travel *t);

static enum travel_end back_over_run(struct travel *t)
{
	struct move last = t->here.move[t->here.count - 1];
	struct place at = {0};
	enum travel_end end;
	int r = place_copy(&at, &t->here);

	if (r == 0) {
		place_take_back(&at);
		r = travel_go(t, &at);
	}
	if (r == 0)
		r = travel_use_points(t, last.points);
	if (r == 0 && last.kind == MOVE_RUN_AT_ONCE && debug_is_at_break(t->vm)) {
		place_copy(&t->here, &at); /* shorter, and the same */
		place_free(&at);
		return back(t);
	}
	end = r == 0 && step_to_stop(t, &at) ? travel_stand_at(t, &at, TRAVEL_STEPPED) : give_up(t);
	place_free(&at);
	return end;
}

static enum travel_end back(struct travel *t)
{
	struct place at = {0};
	enum travel_end end;

	if (!t->here.count)
		return back_over_access(t);
	if (t->here.move[t->here.count - 1].kind != MOVE_STEP)
		return back_over_run(t);
	if (place_copy(&at, &t->here) < 0)
		return give_up(t);
	place_take_back(&at);
	end = travel_stand_at(t, &at, TRAVEL_STEPPED);
	place_free(&at);
	return end;
}

static int keep_points(struct travel *t)
{
	return point_sets_find(&t->sets, t->debug->point, t->debug->count, &t->points);
}

enum travel_end travel_back(struct travel *t)
{
	return keep_points(t) < 0 ? give_up(t) : back(t);
}

/* What was found between two places. */
struct found {
	bool any;
	struct place place; /* of the last stop */
	struct debug_stop stop;
};

static bool is_in_set(const struct point_set *s, const struct debug_stop *stop)
{
	for (unsigned int i = 0; i < s->count; i++) {
		const struct debug_point *p = &s->point[i];

		if (p->gva == stop->gva && (p->kind == stop->kind || (!debug_is_watch(p->kind) && !debug_is_watch(stop->kind))))
			return true;
	}
	return false;
}

/* A breakpoint at the end itself is where the guest comes from; but what was written on the way there is undone by going back. */
static int note_stop(struct travel *t, struct found *f, const struct place *at, bool is_end)
{
	if (!is_in_set(&t->sets.set[t->points], &t->stop) || (is_end && !debug_is_watch(t->stop.kind)))
		return 0;
	f->any = true;
	f->stop = t->stop;
	return place_copy(&f->place, at);
}

/* From the checkpoint where the guest stands, to position `end`. Returns 0, or -errno as travel_go(). */
static int look_up_to(struct travel *t, struct place *at, uint64_t end, bool is_end, struct found *f)
{
	enum move_kind kind = MOVE_RUN_AT_ONCE;
	enum halt h = HALT_LIMIT;
	int r = travel_use_points(t, t->points);

	while (r == 0 && at->position < end) {
		h = kind == MOVE_RUN ? guest_run_off(t, end) : guest_run(t, end);
		if (h != HALT_POINT)
			break;
		r = guest_arrived(t, at, kind, t->points);
		if (r == 0)
			r = note_stop(t, f, at, is_end && at->position >= end && !at->count);
		kind = MOVE_RUN;
	}
	if (r == 0 && h != HALT_LIMIT && at->position < end)
		return -ESRCH;
	return r;
}

/* Both sets in force: the user's, and that of the move that is made again. */
static int join(struct travel *t, size_t other, size_t *both)
{
	const struct point_set *a = &t->sets.set[t->points], *b = &t->sets.set[other];
	struct debug_point point[DEBUG_POINTS_MAX];
	unsigned int count = a->count;

	memcpy(point, a->point, a->count * sizeof(*point));
	for (unsigned int i = 0; i < b->count && count < DEBUG_POINTS_MAX; i++) {
		const struct debug_stop stop = {.kind = b->point[i].kind, .gva = b->point[i].gva};

		if (!is_in_set(a, &stop))
			point[count++] = b->point[i];
	}
	return point_sets_find(&t->sets, point, count, both);
}

/* Makes one move of the way to the end again, stopping at the user's points as well. */
static int look_along(struct travel *t, struct place *at, const struct move *m, bool is_last, struct found *f)
{
	enum move_kind kind = m->kind;
	size_t both = t->points;
	bool done = false;
	int r = kind == MOVE_STEP ? 0 : join(t, m->points, &both);

	if (r == 0)
		r = travel_use_points(t, both);
	while (r == 0 && !done) {
		enum halt h = guest_move(t, kind);

		if (h != HALT_STEPPED && h != HALT_POINT)
			return -ESRCH;
		r = guest_arrived(t, at, kind, both);
		done = kind == MOVE_STEP || is_in_set(&t->sets.set[m->points], &t->stop);
		if (h == HALT_STEPPED && debug_is_at_break(t->vm))
			t->stop = (struct debug_stop){.kind = DEBUG_BREAK, .gva = t->vm->mmu->debug->registers(t->vm)->rip};
		else if (h == HALT_STEPPED)
			continue;
		if (r == 0)
			r = note_stop(t, f, at, is_last && done);
		kind = kind == MOVE_STEP ? kind : MOVE_RUN;
	}
	return r;
}

static int look_along_all(struct travel *t, struct place *at, const struct place *end, struct found *f)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < end->count; i++) {
		for (uint32_t n = 1; r == 0 && n <= end->move[i].times; n++)
			r = look_along(t, at, &end->move[i], i + 1 == end->count && n == end->move[i].times, f);
	}
	return r;
}

/* Where the last access before the end has led: who goes on from there by a step, or off the breakpoint, does not stop at it. */
static int look_here(struct travel *t, const struct place *at, const struct place *end, struct found *f)
{
	int r = end->count && end->move[0].kind != MOVE_RUN_AT_ONCE ? travel_use_points(t, t->points) : -ENOENT;

	if (r < 0 || !debug_is_at_break(t->vm))
		return r == -ENOENT ? 0 : r;
	t->stop = (struct debug_stop){.kind = DEBUG_BREAK, .gva = t->vm->mmu->debug->registers(t->vm)->rip};
	return note_stop(t, f, at, false);
}

/* All stops from the checkpoint at position `from` to the place `end`. */
static int look_between(struct travel *t, uint64_t from, const struct place *end, struct found *f)
{
	struct place at = {.position = from};
	int r = travel_go(t, &at);

	f->any = false;
	if (r == 0)
		r = look_up_to(t, &at, end->position, !end->count, f);
	if (r == 0 && end->count)
		place_set(&at, end->position);
	if (r == 0)
		r = look_here(t, &at, end, f);
	if (r == 0)
		r = look_along_all(t, &at, end, f);
	place_free(&at);
	return r;
}

/* What the page of a point holds is not touched on much of a way: that is not gone once more. */
static bool can_meet(const struct travel *t, uint64_t from, uint64_t to)
{
	const struct point_set *s = &t->sets.set[t->points];

	for (unsigned int i = 0; i < s->count; i++) {
		const struct debug_point *p = &s->point[i];

		if (!p->placed || (p->kind == DEBUG_WATCH_WRITE ? timeline_may_write : timeline_may_use)(t->timeline, from, to, p->gpa))
			return true;
	}
	return false;
}

static int find_last(struct travel *t, struct found *f)
{
	struct place end = {0};
	int r = place_copy(&end, &t->here);

	while (r == 0 && !f->any && (end.position > t->first || end.count)) {
		uint64_t from = timeline_before(t->timeline, end.count ? end.position : end.position - 1);

		if (end.count || can_meet(t, from, end.position))
			r = look_between(t, from, &end, f);
		place_set(&end, from);
	}
	place_free(&end);
	return r;
}

/* gdb wants to see what was written before, and so do people: in front of the instruction that wrote. */
static enum travel_end stand_at_found(struct travel *t, struct found *f)
{
	enum travel_end end = travel_stand_at(t, &f->place, TRAVEL_POINT);

	if (end == TRAVEL_POINT && debug_is_watch(f->stop.kind))
		end = back(t) == TRAVEL_STEPPED ? TRAVEL_POINT : TRAVEL_OVER;
	t->stop = f->stop;
	return end;
}

enum travel_end travel_run_back(struct travel *t)
{
	const struct place begin = {.position = t->first};
	struct found f = {0};
	enum travel_end end;
	int r = keep_points(t);

	if (r == 0)
		r = find_last(t, &f);
	if (r < 0)
		end = give_up(t);
	else if (f.any)
		end = stand_at_found(t, &f);
	else
		end = travel_stand_at(t, &begin, TRAVEL_BEGIN);
	place_free(&f.place);
	return end;
}
