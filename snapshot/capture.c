#include "snapshot/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/describe.h"
#include "snapshot/host_time.h"
#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/image.h"
#include "vmm/state.h"
#include "vmm/steering.h"
#include "vmm/vm.h"

void capture_free(struct capture *c)
{
	if (c->image_fd >= 0)
		close(c->image_fd);
	ram_copy_free(&c->ram);
	snapshot_free(&c->sn);
	*c = (struct capture){.image_fd = -1};
}

static int prepare(struct capture *c, struct vm *vm, uint64_t bytes, struct reason *why)
{
	if (snapshot_id_make(&c->sn.id, why) < 0)
		return -EIO;
	c->image_fd = fcntl(vm->image->fd, F_DUPFD_CLOEXEC, 0);
	if (c->image_fd < 0)
		return reason_errno(why, errno, "%s", vm->image->path);
	if (ram_copy_reserve(&c->ram, &vm->mem, bytes) < 0)
		return reason_errno(why, ENOMEM, "copy of the guest's RAM");
	return 0;
}

int capture_prepare(struct capture *c, struct vm *vm, uint64_t bytes, struct reason *why)
{
	int r;

	*c = (struct capture){.image_fd = -1, .expected = bytes};
	r = prepare(c, vm, bytes, why);
	if (r < 0)
		capture_free(c);
	return r;
}

static int add_range(void *arg, uint64_t gpa, uint64_t size)
{
	return ram_copy_add(arg, gpa, size);
}

static int begin_epoch(struct epoch *e, struct vm *vm)
{
	int r = dirty_set_alloc(&vm->dirty, &e->taken);

	if (r < 0)
		return r;
	r = dirty_begin(&vm->dirty, &e->consumer);
	if (r < 0)
		dirty_set_free(&e->taken);
	e->begun = r == 0;
	return r;
}

void epoch_end(struct epoch *e, struct vm *vm)
{
	if (!e->begun)
		return;
	dirty_end(&vm->dirty, &e->consumer);
	dirty_set_free(&e->taken);
	e->begun = false;
}

/* Everything written before this moment is in the set, or, if it is the first of its epoch, in the RAM that is about to be copied. */
static int take_dirty(struct epoch *e, struct vm *vm)
{
	if (!e->begun)
		return begin_epoch(e, vm);
	if (e->lost && !e->full)
		dirty_give_back(&vm->dirty, &e->consumer, &e->taken);
	return dirty_take(&vm->dirty, &e->consumer, &e->taken);
}

static int add_regions(struct capture *c, const struct mem *m)
{
	int r = 0;

	for (unsigned int i = 0; i < m->region_count && r == 0; i++)
		r = ram_copy_add(&c->ram, m->region[i].gpa, m->region[i].size);
	return r;
}

/* In a chain not twice in a row: what was protected counts as written, and would be protected again and again. */
static bool is_much(uint64_t bytes, const struct epoch *e)
{
	return e ? bytes > RAM_COPY_AT_ONCE_IN_CHAIN && !e->behind : bytes > RAM_COPY_AT_ONCE;
}

static int copy_part(void *arg, uint64_t gpa, uint64_t size)
{
	return ram_copy_part(arg, gpa, size);
}

/* What was written now, the rest when the guest runs again: it is in a file. */
static int add_backed(struct capture *c, struct vm *vm, struct reason *why)
{
	int r = add_regions(c, &vm->mem);

	if (r == 0)
		r = touched_walk(&vm->mem, copy_part, &c->ram, why);
	ram_copy_rest(&c->ram, vm->mem.backing);
	return r;
}

/*
 * Much of it, or what is not there and would have to be brought, is copied behind the guest. Then all of RAM is protected: that costs
 * less than finding out what was touched, which is found out behind the guest, too. Pages that are absent hold something, but were not
 * touched: where they are, it is all of RAM in any case.
 */
static int add_all(struct capture *c, struct vm *vm, const struct epoch *e, struct reason *why)
{
	bool paged = vm->mem.paged, behind;

	if (vm->mem.backed)
		return add_backed(c, vm, why);
	behind = (is_much(c->expected, e) || paged) && ram_copy_behind(&c->ram, vm);
	return behind || paged ? add_regions(c, &vm->mem) : touched_walk(&vm->mem, add_range, &c->ram, why);
}

static int add_dirty(struct capture *c, struct vm *vm, const struct epoch *e)
{
	int r;

	c->sn.incremental = true;
	c->sn.parent = e->parent;
	c->sn.parent_checksum = e->parent_checksum;
	c->sn.parent_path = strdup(e->parent_path);
	r = c->sn.parent_path ? dirty_walk(&vm->dirty, &e->taken, add_range, &c->ram) : -ENOMEM;
	if (r == 0 && is_much(c->ram.used, e))
		ram_copy_behind(&c->ram, vm);
	return r;
}

static int copy_ram(struct capture *c, struct vm *vm, struct epoch *e, struct reason *why)
{
	int r = e ? take_dirty(e, vm) : 0;

	if (vm->mem.paged)
		ram_copy_of_paged(&c->ram, &vm->userfault);
	if (r == 0)
		r = e && !e->full ? add_dirty(c, vm, e) : add_all(c, vm, e, why);
	if (r == 0)
		r = ram_copy_take(&c->ram, why);
	if (e) {
		e->lost = true; /* until it is written */
		e->behind = c->ram.behind;
	}
	return r < 0 ? reason_errno(why, -r, "copy of the guest's RAM") : 0;
}

static int save_devices(struct capture *c, struct vm *vm, struct reason *why)
{
	struct state s;

	state_save_init(&s);
	clock_visit(&vm->clock, &s);
	bus_visit(&vm->bus, &s);
	console_visit(&vm->console, &s);
	if (state_error(&s)) {
		reason_give(why, ENOMEM, "state of the devices: %s", s.error);
		state_free(&s);
		return -ENOMEM;
	}
	c->sn.devices = s.bytes;
	c->sn.device_bytes = s.size;
	return 0;
}

static int copy_guest(struct capture *c, struct vm *vm, struct epoch *e, struct reason *why)
{
	int r = vm_settle(vm, &c->sn.cpu);

	if (r < 0)
		return reason_errno(why, -r, "state of the vCPU");
	if (vm_ended(vm))
		return reason_give(why, ESRCH, "the guest has ended");
	console_flush(&vm->console); /* what came last; else both this guest and a restored one would print it */
	r = describe_vm(&c->sn.machine, vm);
	if (r < 0)
		return reason_errno(why, -r, "description of the machine");
	r = save_devices(c, vm, why);
	if (r == 0)
		r = copy_ram(c, vm, e, why);
	if (r == 0 && vm->steering && vm->steering->ops->saved)
		vm->steering->ops->saved(vm->steering, c->sn.id.byte, NULL);
	return r;
}

int capture_take(struct capture *c, struct vm *vm, struct epoch *e, struct reason *why)
{
	bool paused = vm->paused;
	uint64_t start = host_ns();
	int r = -ESRCH;

	if (vm->steering && vm->steering->catching_up) {
		r = reason_give(why, EAGAIN, "the guest is only just being brought to where it was");
	} else if (!vm_ended(vm)) {
		vm_pause(vm, true);
		r = copy_guest(c, vm, e, why);
		vm_pause(vm, paused);
	} else {
		reason_give(why, ESRCH, "the guest has ended");
	}
	c->pause_ns = host_ns() - start;
	if (r < 0)
		capture_free(c);
	return r;
}

int capture_finish(struct capture *c, struct reason *why)
{
	uint64_t start = host_ns();
	int r = ram_copy_finish(&c->ram, why);

	c->behind_ns = host_ns() - start;
	return r;
}
