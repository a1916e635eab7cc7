#include "replay/travel_run.h"

#include <inttypes.h>

#include "replay/replayer.h"
#include "replay/timeline.h"
#include "snapshot/host_time.h"
#include "snapshot/reason.h"
#include "vmm/cpu_state.h"
#include "vmm/debug.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/run.h"
#include "vmm/walk.h"

#define WALK_HITS_MOST 2000u		  /* executions of the instruction at an asynchronous point; then the guest is put there */
#define WALK_HITS_LEAST 8u
#define CHECKPOINT_EVERY_NS 100000000ull /* of the host's time */

static const struct async_point *awaited(const struct travel *t)
{
	return t->replayer ? replayer_awaits(t->replayer) : NULL;
}

static void stop_waiting(struct travel *t)
{
	debug_remove_own(t->vm);
	t->hits = 0;
}

/*
 * Has the guest come to the asynchronous point it walks to? Then it is put there all the same: what comes next may store what the modes, and
 * a debugger, do in ways of their own (RF, in the frame of an interrupt).
 */
static bool look_for_point(struct travel *t)
{
	const struct async_point *p = awaited(t);

	if (!p || !async_point_has_registers(p, t->vm->mmu->debug->registers(t->vm)))
		return false;
	debug_take_out(t->vm);
	if (!async_point_has_pages(p, &t->vm->mem))
		return false;
	stop_waiting(t);
	replayer_put(t->replayer);
	return true;
}

/* What it would have met on the way nobody sees; but that something is not as it was is seen. */
static enum halt put(struct travel *t)
{
	stop_waiting(t);
	replayer_put(t->replayer);
	timeline_lose_uses(t->timeline);
	if (vm_ended(t->vm))
		return HALT_ENDED;
	debug_was_put(t->vm);
	if (!t->debug->stopped)
		return HALT_STEPPED;
	t->stop = t->debug->stop;
	return HALT_POINT;
}

/* By the tables that the guest has at the point: where they lead now, which what happens on the way may change. */
static void wait_for_point(struct travel *t)
{
	const struct async_point *p = awaited(t);
	struct walk w;
	uint64_t gpa;

	if (!p)
		return;
	walk_guest(&t->vm->mem, &p->cpu, p->cpu.rip, MMU_READ, &w);
	gpa = w.fault ? DEBUG_NOWHERE : w.gpa;
	if (!t->debug->own.size || t->debug->own.gpa != gpa)
		debug_set_own(t->vm, p->cpu.rip, gpa, p->cpu.cr3);
}

bool guest_rest(struct travel *t)
{
	if (!t->replayer)
		return !vm_ended(t->vm);
	do {
		if (!replayer_rest(t->replayer))
			return false;
	} while (look_for_point(t));
	return true;
}

static bool turn(struct travel *t)
{
	wait_for_point(t);
	t->debug->stopped = false;
	return run_turn(t->vm);
}

/* The guest was stopped. In a replay what is due behind an access belongs to it. */
static enum halt stopped(struct travel *t)
{
	t->stop = t->debug->stop;
	if (t->stop.is_access && !guest_rest(t))
		return HALT_ENDED;
	look_for_point(t);
	return t->stop.why == DEBUG_POINT ? HALT_POINT : HALT_STEPPED;
}

/*
 * The oftener a guest was interrupted at an instruction, the more often it executes it, and the more points there are the walk to which
 * would be in vain. By what the whole log says, so that it does not depend on what was done before.
 */
static size_t hits_most(const struct travel *t, uint64_t rip)
{
	size_t points = point_census_at(&t->census, rip), most = points ? WALK_HITS_MOST / (points * points) : WALK_HITS_MOST;

	return most > WALK_HITS_LEAST ? most : WALK_HITS_LEAST;
}

/*
 * Counted is what the guest executes, whatever moves have it do so: every way through here leads to the same places. The instruction at the
 * point is always executed by a step, since otherwise there is a breakpoint.
 */
static bool is_too_far(struct travel *t)
{
	const struct async_point *p;

	wait_for_point(t);
	p = awaited(t);
	if (!p || !debug_is_at_own(t->vm) || ++t->hits <= hits_most(t, p->cpu.rip))
		return false;
	log_print(LOG_INFO, "position %" PRIu64 ": too far to walk; the guest is put to where it was interrupted", travel_position(t));
	return true;
}

enum halt guest_step(struct travel *t)
{
	enum halt h = HALT_ENDED;

	if (is_too_far(t))
		return put(t);
	debug_take_out(t->vm);
	t->debug->stepping = true;
	while (turn(t)) {
		if (t->debug->stopped)
			h = stopped(t);
		else if (t->interrupted)
			h = HALT_INTERRUPTED;
		else
			continue;
		break;
	}
	t->debug->stepping = false;
	return h;
}

/* Where it is going by itself it need not walk if it can meet nothing on the way. */
static bool can_meet(const struct travel *t, const struct async_point *p)
{
	for (unsigned int i = 0; i < t->debug->count; i++) {
		const struct debug_point *d = &t->debug->point[i];

		if (d->kind != DEBUG_WATCH_WRITE || async_point_has_page(p, d->gpa >> PAGE_SHIFT))
			return true;
	}
	return false;
}

static bool can_skip(const struct travel *t)
{
	const struct async_point *p = awaited(t);

	return p && !can_meet(t, p);
}

/* An access has just been made. False: the VM has ended. */
static bool take_checkpoint(struct travel *t)
{
	uint64_t now = host_ns();
	struct reason why;

	if (!t->timeline || now - t->looked < CHECKPOINT_EVERY_NS)
		return true;
	if (!guest_rest(t))
		return false;
	if (timeline_before(t->timeline, travel_position(t)) != travel_position(t))
		timeline_take(t->timeline, &why);
	t->looked = host_ns();
	return true;
}

/* On, when the guest has not been stopped: HALT_STEPPED. */
static enum halt look_around(struct travel *t, uint64_t limit, uint64_t before)
{
	if (travel_position(t) >= limit)
		return guest_rest(t) ? HALT_LIMIT : HALT_ENDED;
	if (t->interrupted)
		return HALT_INTERRUPTED;
	if (travel_position(t) != before && !take_checkpoint(t))
		return HALT_ENDED;
	return HALT_STEPPED;
}

/* Where it waits for the asynchronous point: on, one instruction, if that is not it. */
static enum halt at_stop(struct travel *t)
{
	if (t->debug->stop.why != DEBUG_OWN_BREAK)
		return stopped(t);
	return look_for_point(t) ? HALT_STEPPED : guest_step(t);
}

enum halt guest_run(struct travel *t, uint64_t limit)
{
	enum halt h = HALT_STEPPED;

	while (h == HALT_STEPPED) {
		uint64_t before = travel_position(t);

		if (can_skip(t))
			h = put(t);
		else if (!turn(t))
			h = HALT_ENDED;
		else if (t->debug->stopped)
			h = at_stop(t);
		if (h == HALT_STEPPED)
			h = look_around(t, limit, before);
	}
	return h;
}

static enum halt at_break(struct travel *t)
{
	t->stop = (struct debug_stop){.why = DEBUG_POINT, .kind = DEBUG_BREAK, .gva = t->vm->mmu->debug->registers(t->vm)->rip};
	return HALT_POINT;
}

enum halt guest_run_off(struct travel *t, uint64_t limit)
{
	enum halt h;

	if (!debug_is_at_break(t->vm))
		return guest_run(t, limit);
	h = guest_step(t);
	if (h != HALT_STEPPED)
		return h;
	if (travel_position(t) >= limit)
		return HALT_LIMIT;
	return debug_is_at_break(t->vm) ? at_break(t) : guest_run(t, limit);
}

enum halt guest_move(struct travel *t, enum move_kind kind)
{
	if (kind == MOVE_STEP)
		return guest_step(t);
	return kind == MOVE_RUN ? guest_run_off(t, NO_LIMIT) : guest_run(t, NO_LIMIT);
}

int guest_arrived(const struct travel *t, struct place *p, enum move_kind kind, size_t points)
{
	if (travel_position(t) == p->position)
		return place_add(p, kind, kind == MOVE_STEP ? 0 : points);
	place_set(p, travel_position(t));
	return t->stop.is_access ? 0 : place_add(p, MOVE_RUN_AT_ONCE, points);
}
