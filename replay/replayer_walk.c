/* How a guest walks to asynchronous points: replayer_awaits() and what belongs to it (replayer.h). */
#include <errno.h>
#include <stdlib.h>

#include "replay/replayer.h"
#include "replay/replayer_bring.h"
#include "vmm/debug.h"
#include "vmm/log.h"
#include "vmm/vm.h"

static void gather(struct replayer *r)
{
	bool is_page = r->next.kind == EVENT_PAGE;
	int err;

	err = is_page ? async_point_add_page(&r->point, &r->next, &r->vm->mem) : async_point_add_state(&r->point, &r->next);
	if (err == -EBADMSG)
		replayer_refuse(r, is_page ? "a page" : "a state");
	else if (err < 0)
		vm_fail(r->vm, "no memory for an asynchronous point");
}

/* What is gathered is read again if the guest is put back: its bytes are no part of a mark. */
void replayer_gather(struct replayer *r)
{
	if (r->point.whole)
		return;
	log_reader_mark(&r->events, &r->begin.events);
	r->begin.next = r->next;
	for (;;) {
		gather(r);
		if (vm_ended(r->vm) || r->point.whole)
			return;
		replayer_advance(r);
		if (!replayer_is_due(r) || !replayer_is_async(&r->next))
			break;
	}
	if (!vm_ended(r->vm))
		replayer_refuse(r, "pages without a state");
}

/* The guest is put to this point, and does not walk there. */
bool replayer_is_put(const struct replayer *r)
{
	struct log_mark m;

	log_reader_mark(&r->events, &m);
	for (size_t i = 0; i < r->puts; i++) {
		if (r->put[i].block == m.at && r->put[i].byte == m.next)
			return true;
	}
	return false;
}

const struct async_point *replayer_awaits(const struct replayer *r)
{
	return r->point.whole ? &r->point : NULL;
}

static struct log_place log_place(const struct log_mark *m)
{
	return (struct log_place){.block = m->at, .byte = m->next};
}

int replayer_put_next_time(struct replayer *r)
{
	struct log_place *more = reallocarray(r->put, r->puts + 1, sizeof(*more));

	if (!more)
		return log_errno(ENOMEM, "asynchronous points");
	r->put = more;
	r->put[r->puts++] = log_place(&r->begin.events);
	return 0;
}

void replayer_put(struct replayer *r)
{
	debug_take_out(r->vm);
	async_point_put(&r->point, &r->vm->mem);
	if (vm_go_on_from(r->vm, &r->point.cpu) < 0)
		vm_fail(r->vm, "the guest's state cannot be changed");
	async_point_forget(&r->point);
	replayer_advance(r);
}
