#include "replay/travel.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "replay/replayer.h"
#include "replay/timeline.h"
#include "replay/travel_run.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

int travel_begin(struct travel *t, struct vm *vm, struct debug *d, struct replayer *r)
{
	struct timeline_options options = {.room = TIMELINE_ROOM};
	int err = 0;

	*t = (struct travel){.vm = vm, .debug = d, .replayer = r};
	if (r && !replayer_rest(r))
		err = -ESRCH;
	if (r && err == 0)
		err = timeline_begin(&t->timeline, vm, r, &options);
	if (err < 0)
		return err;
	t->first = travel_position(t);
	place_set(&t->here, t->first);
	return point_sets_find(&t->sets, NULL, 0, &t->points);
}

void travel_finish(struct travel *t)
{
	timeline_end(t->timeline);
	place_free(&t->here);
	point_sets_free(&t->sets);
}

/* gdb takes all points away whenever the guest stops, and brings them back: only what is there when it goes on is a set. */
static int keep_points(struct travel *t)
{
	return point_sets_find(&t->sets, t->debug->point, t->debug->count, &t->points);
}

int travel_insert(struct travel *t, enum debug_kind kind, uint64_t gva, uint32_t size)
{
	return debug_insert(t->vm, kind, gva, size);
}

int travel_remove(struct travel *t, enum debug_kind kind, uint64_t gva, uint32_t size)
{
	return debug_remove(t->vm, kind, gva, size);
}

static enum travel_end failed(struct travel *t, int error)
{
	vm_fail_said(t->vm, "the debugger", error);
	return TRAVEL_OVER;
}

/* Where the guest was stopped by a move from `here`. */
static int arrive(struct travel *t, enum move_kind kind)
{
	if (travel_position(t) == t->here.position)
		return place_add(&t->here, kind, t->points);
	place_set(&t->here, travel_position(t));
	return t->stop_is_access ? 0 : place_add(&t->here, MOVE_RUN_AT_ONCE, t->points);
}
