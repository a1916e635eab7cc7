#include "replay/travel_run.h"

#include <time.h>

#include "replay/replayer.h"
#include "replay/timeline.h"
#include "snapshot/reason.h"
#include "vmm/cpu_state.h"
#include "vmm/debug.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/run.h"
#include "vmm/walk.h"

#define WALK_HITS_MOST 2000u		  /* of the instruction at an asynchronous point; then the guest is put there */
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

/* Has the guest come to the asynchronous point it walks to? */
static bool look_for_point(struct travel *t)
{
	const struct async_point *p = awaited(t);

	if (!p || !async_point_is_at(p, t->vm->mmu->debug->registers(t->vm)))
		return false;
	stop_waiting(t);
	replayer_reached(t->replayer);
	return true;
}

static void put(struct travel *t)
{
	stop_waiting(t);
	replayer_put(t->replayer);
}

/* By the tables that the guest has at the point; as soon as they lead there, which a fault on the way may have to bring about. */
static void wait_for_point(struct travel *t)
{
	const struct async_point *p = awaited(t);
	struct walk w;

	if (!p || t->debug->own.size)
		return;
	walk_guest(&t->vm->mem, &p->cpu, p->cpu.rip, MMU_READ, &w);
	if (!w.fault)
		debug_set_own(t->vm, p->cpu.rip, w.gpa);
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

enum halt guest_step(struct travel *t)
{
	enum halt h = HALT_ENDED;

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

/* At the instruction of an asynchronous point, but not at the point: on, one instruction. */
static enum halt pass(struct travel *t)
{
	if (look_for_point(t))
		return HALT_STEPPED;
	if (++t->hits <= WALK_HITS_MOST)
		return guest_step(t);
	log_print(LOG_INFO, "position %llu: too far to walk; the guest is put to where it was interrupted",
		  (unsigned long long)travel_position(t));
	put(t);
	return HALT_STEPPED;
}

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
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

enum halt guest_run(struct travel *t, uint64_t limit)
{
	enum halt h = HALT_STEPPED;

	while (h == HALT_STEPPED) {
		uint64_t before = travel_position(t);

		if (!turn(t))
			return HALT_ENDED;
		if (t->debug->stopped)
			h = t->debug->stop.why == DEBUG_OWN_BREAK ? pass(t) : stopped(t);
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
