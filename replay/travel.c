#include "replay/travel.h"

#include <errno.h>
#include <inttypes.h>

#include "replay/replayer.h"
#include "replay/timeline.h"
#include "replay/travel_back.h"
#include "replay/travel_run.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/vm.h"

int travel_begin(struct travel *t, struct vm *vm, struct debug *d, struct replayer *r, bool alone)
{
	struct timeline_options options = {.room = TIMELINE_ROOM, .uses = alone};
	int err = 0;

	*t = (struct travel){.vm = vm, .debug = d, .replayer = r};
	if (r && !replayer_rest(r))
		err = -ESRCH;
	if (r && err == 0)
		err = point_census_take(&t->census, r->events.fd, r->name);
	if (r && err == 0)
		err = timeline_begin(&t->timeline, vm, r, &options);
	if (err < 0) {
		point_census_free(&t->census);
		return err;
	}
	t->first = travel_position(t);
	place_set(&t->here, t->first);
	return point_sets_find(&t->sets, NULL, 0, &t->points);
}

void travel_finish(struct travel *t)
{
	if (t->timeline)
		timeline_end(t->timeline);
	place_free(&t->here);
	point_sets_free(&t->sets);
	point_census_free(&t->census);
}

static enum travel_end failed(struct travel *t, int error)
{
	vm_fail_said(t->vm, "the debugger", error);
	return TRAVEL_OVER;
}

int travel_use_points(struct travel *t, size_t points)
{
	return debug_set(t->vm, t->sets.set[points].point, t->sets.set[points].count);
}

static int go_to_position(struct travel *t, uint64_t position)
{
	int r;

	debug_take_out(t->vm);
	debug_remove_own(t->vm);
	t->hits = 0;
	r = timeline_go(t->timeline, timeline_before(t->timeline, position));
	if (r == 0)
		r = debug_set(t->vm, NULL, 0);
	if (r < 0)
		return r;
	if (!guest_rest(t))
		return -ESRCH;
	if (travel_position(t) >= position)
		return 0;
	t->looked = 0;
	return guest_run(t, position) == HALT_LIMIT ? 0 : -ESRCH;
}

static int make_move(struct travel *t, const struct move *m)
{
	int r = m->kind == MOVE_STEP ? debug_set(t->vm, NULL, 0) : travel_use_points(t, m->points);

	for (uint32_t i = 0; r == 0 && i < m->times; i++) {
		enum halt h = guest_move(t, m->kind);

		if (h != HALT_STEPPED && h != HALT_POINT)
			r = -ESRCH;
	}
	return r;
}

/* A checkpoint where the guest is makes it cheap to come back, and to go back from here by a little. */
static void mark(struct travel *t)
{
	uint64_t at = travel_position(t);
	struct reason why;

	if (timeline_before(t->timeline, at) != at)
		timeline_take(t->timeline, &why);
}

int travel_go(struct travel *t, const struct place *p)
{
	int r = go_to_position(t, p->position);

	if (r < 0)
		return r;
	mark(t);
	for (size_t i = 0; r == 0 && i < p->count; i++)
		r = make_move(t, &p->move[i]);
	return r;
}

/* It is about to be the user's again, with his points. */
static enum travel_end stand(struct travel *t, enum travel_end end)
{
	int r = travel_use_points(t, t->points);

	t->interrupted = false;
	return r < 0 ? failed(t, r) : end;
}

enum travel_end travel_stand_at(struct travel *t, const struct place *p, enum travel_end end)
{
	int r = travel_go(t, p);

	if (r == 0 && p != &t->here)
		r = place_copy(&t->here, p);
	return r < 0 ? failed(t, r) : stand(t, end);
}

/* What the recording, or the guest in it, has come to. */
static bool is_history(const struct vm *vm)
{
	const enum vm_end_kind kind = vm->end.kind;

	return kind == VM_EXITED || kind == VM_KILLED || kind == VM_HOST_LIMIT || kind == VM_REPLAYED || kind == VM_DIVERGED;
}

/* In a recording there is always a last place where the guest can be looked at. */
static enum travel_end end_of_history(struct travel *t)
{
	uint64_t at = travel_position(t);
	struct place p = {.position = at};

	if (t->vm->end.kind == VM_DIVERGED)
		log_print(LOG_WARN, "%s", t->vm->end.reason);
	while (go_to_position(t, p.position) == -ESRCH && is_history(t->vm) && p.position > t->first)
		p.position--;
	if (vm_ended(t->vm))
		return TRAVEL_OVER;
	p.position = travel_position(t);
	place_set(&t->here, p.position);
	return stand(t, TRAVEL_END);
}

/* Places on the way to the point are no more, then: it stands at the point. */
bool travel_puts_instead(struct travel *t)
{
	uint64_t at;

	if (!t->replayer || !replayer_awaits(t->replayer) || (t->vm->end.kind != VM_DIVERGED && t->vm->end.kind != VM_KILLED))
		return false;
	at = t->replayer->next.position;
	log_print(LOG_INFO, "position %" PRIu64 ": the guest does not come to where it was interrupted; it is put there", at);
	if (t->here.position == at)
		place_set(&t->here, at);
	return replayer_put_next_time(t->replayer) == 0 && travel_go(t, &t->here) == 0 && travel_use_points(t, t->points) == 0;
}

/* At the last access, which can be found again, and not amid what the guest computes. */
static enum travel_end interrupted(struct travel *t)
{
	struct place p = {.position = travel_position(t)};

	if (!t->replayer)
		return stand(t, TRAVEL_INTERRUPTED);
	t->interrupted = false;
	return travel_stand_at(t, p.position == t->here.position ? &t->here : &p, TRAVEL_INTERRUPTED);
}

static enum travel_end on(struct travel *t, enum move_kind kind)
{
	int r = point_sets_find(&t->sets, t->debug->point, t->debug->count, &t->points);
	enum halt h;

	if (r < 0)
		return failed(t, r);
	do
		h = guest_move(t, kind);
	while (h == HALT_ENDED && travel_puts_instead(t));
	if (h == HALT_INTERRUPTED)
		return interrupted(t);
	if (h == HALT_ENDED)
		return t->replayer && is_history(t->vm) ? end_of_history(t) : TRAVEL_OVER;
	r = guest_arrived(t, &t->here, kind, t->points);
	if (r < 0)
		return failed(t, r);
	return h == HALT_POINT ? TRAVEL_POINT : TRAVEL_STEPPED;
}

enum travel_end travel_step(struct travel *t)
{
	return on(t, MOVE_STEP);
}

enum travel_end travel_run(struct travel *t)
{
	return on(t, MOVE_RUN);
}

enum travel_end travel_to(struct travel *t, uint64_t position)
{
	int r = point_sets_find(&t->sets, t->debug->point, t->debug->count, &t->points);

	if (r == 0)
		r = go_to_position(t, position > t->first ? position : t->first);
	if (r == -ESRCH)
		return is_history(t->vm) ? end_of_history(t) : TRAVEL_OVER;
	if (r < 0)
		return failed(t, r);
	place_set(&t->here, travel_position(t));
	mark(t);
	return stand(t, TRAVEL_STEPPED);
}

void travel_leave(struct travel *t)
{
	int r;

	debug_take_out(t->vm);
	debug_remove_own(t->vm);
	r = debug_set(t->vm, NULL, 0);
	if (r < 0)
		vm_fail_said(t->vm, "the debugger", r);
	if (!vm_ended(t->vm) && t->replayer && replayer_awaits(t->replayer))
		replayer_put(t->replayer);
	if (t->replayer)
		t->replayer->walks = false;
	t->debug->stopped = false;
}

enum travel_end travel_return(struct travel *t)
{
	t->interrupted = false;
	if (!t->replayer)
		return TRAVEL_INTERRUPTED;
	t->replayer->walks = true;
	return travel_to(t, travel_position(t)) == TRAVEL_OVER ? TRAVEL_OVER : TRAVEL_INTERRUPTED;
}
