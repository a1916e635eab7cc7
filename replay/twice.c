#include "replay/twice.h"

#include <inttypes.h>
#include <stddef.h>

#include "replay/ram_digest.h"
#include "snapshot/reason.h"
#include "vmm/log.h"

static struct twice *of_follower(struct replay_follower *f)
{
	return (struct twice *)((char *)f - offsetof(struct twice, follower));
}

static void differs(struct replayer *r, const char *what)
{
	r->vm->end = (struct vm_end){.kind = VM_RUNNING};
	vm_end(r->vm, VM_DIVERGED, 0, "at position %" PRIu64 ", the second time: %s", r->vm->vcpu.port.position, what);
}

static int begin(struct twice *t, struct replayer *r)
{
	int err = timeline_begin(&t->timeline, r->vm, r, &t->options);

	if (err == 0)
		vm_keep(r->vm, &t->keep);
	return err;
}

/* Also with the checkpoint just taken, or that it was put back to: one that was thinned out is taken again, to be compared with nothing. */
static void take(struct twice *t, struct replayer *r)
{
	struct timeline_counts before, after;
	struct reason why = {0};
	int err;

	timeline_count(t->timeline, &before);
	err = timeline_take(t->timeline, &why);
	timeline_count(t->timeline, &after);
	t->compared += after.taken == before.taken;
	if (err > 0)
		differs(r, why.text);
	else if (err < 0)
		vm_fail_said(r->vm, "checkpoint of the replay", err);
}

static void look(struct replay_follower *f, struct replayer *r)
{
	struct twice *t = of_follower(f);
	int err;

	if (t->timeline && !timeline_due(t->timeline))
		return;
	if (!replayer_rest(r))
		return;
	if (t->timeline) {
		take(t, r);
		return;
	}
	err = begin(t, r);
	if (err < 0)
		vm_fail_said(r->vm, "first checkpoint of the replay", err);
}

static bool ended_as_recorded(const struct vm *vm)
{
	return vm->end.kind == VM_EXITED || vm->end.kind == VM_KILLED || vm->end.kind == VM_HOST_LIMIT || vm->end.kind == VM_REPLAYED;
}

static void ended(struct replay_follower *f, struct replayer *r)
{
	struct twice *t = of_follower(f);
	uint64_t ram;

	if (!t->timeline || !ended_as_recorded(r->vm) || ram_digest(&r->vm->mem, &ram) < 0)
		return;
	if (t->again) {
		if (ram != t->ram)
			differs(r, "RAM is not as it was when the guest ended");
		else
			log_print(LOG_INFO, "%s: replayed twice; %" PRIu64 " checkpoints compared", r->name, t->compared);
		return;
	}
	t->again = true;
	t->ram = ram;
	timeline_go(t->timeline, 0);
}

static void end(struct vm_keep *k, struct vm *vm)
{
	struct twice *t = (struct twice *)((char *)k - offsetof(struct twice, keep));

	timeline_end(t->timeline);
	t->timeline = NULL;
}

void twice_begin(struct twice *t, struct replayer *r)
{
	t->follower = (struct replay_follower){.look = look, .ended = ended};
	t->keep.end = end;
	r->follower = &t->follower;
}
