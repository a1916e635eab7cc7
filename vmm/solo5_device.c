#include "vmm/solo5_device.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>

#include "vmm/image.h"
#include "vmm/solo5_memory.h"
#include "vmm/state.h"
#include "vmm/steering.h"
#include "vmm/vm.h"

#define PORTS_SIZE 16 /* every call whole, and one more that is none */

#define POLL_OUT offsetof(struct solo5_poll, ready)
#define BLOCK_OUT offsetof(struct solo5_block_io, ret)
#define NET_OUT offsetof(struct solo5_net_io, size)
#define NET_RESULT offsetof(struct solo5_net_io, ret)

/* A copy of a call's structure, which need not be aligned and may be written by the call itself. Returns where it is, or NULL. */
static uint8_t *take(struct solo5_device *d, const char *what, uint64_t gpa, void *call, size_t size, enum mem_use use)
{
	uint8_t *at = solo5_reach(d->vm, what, gpa, size, use);

	if (at)
		memcpy(call, at, size);
	return at;
}

/* Results, which the unikernel reads after the call. */
static void bring(struct solo5_device *d, void *to, void *bytes, size_t size)
{
	access_external(&d->vm->vcpu.port, ACCESS_SOLO5, bytes, size);
	memcpy(to, bytes, size);
}

static void call_walltime(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_walltime call;
	uint8_t *at = take(d, "walltime", gpa, &call, sizeof(call), MEM_WRITE);

	call.ns = clock_wall(&d->vm->clock);
	if (at)
		bring(d, at, &call, sizeof(call));
}

static void call_puts(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_puts call;
	const uint8_t *bytes;

	if (!take(d, "puts", gpa, &call, sizeof(call), MEM_READ) || !call.size)
		return;
	bytes = solo5_reach(d->vm, "puts", call.data, call.size, MEM_READ);
	/* All of RAM may be asked for: who wants the VM to end does not wait for that. */
	for (uint64_t i = 0; bytes && i < call.size && atomic_load(&d->vm->asked_end) == VM_RUNNING; i++)
		console_put(&d->vm->console, bytes[i]);
}

/* Descriptors of the network devices in fds, their handles in `handle`. */
static unsigned int list_nets(struct solo5_device *d, struct pollfd *fds, uint8_t *handle)
{
	unsigned int n = 0;

	for (unsigned int i = 1; i < d->units.count; i++) {
		if (!solo5_unit_of(&d->units, i, SOLO5_NET))
			continue;
		fds[n] = (struct pollfd){.fd = d->units.unit[i].net.fd, .events = POLLIN};
		handle[n++] = (uint8_t)i;
	}
	return n;
}

static void end_poll(struct solo5_device *d, uint64_t ready)
{
	uint8_t *at = solo5_reach(d->vm, "poll", d->poll_gpa, sizeof(struct solo5_poll), MEM_WRITE);
	struct solo5_poll result = {.ready = ready, .ret = __builtin_popcountll(ready)};

	d->polling = false;
	clock_timer_set(&d->vm->clock, &d->timer, CLOCK_NEVER);
	if (at)
		bring(d, at + POLL_OUT, &result.ready, sizeof(result) - POLL_OUT);
}

static uint64_t look_at_nets(struct solo5_device *d)
{
	struct pollfd fds[SOLO5_MAX_ENTRIES];
	uint8_t handle[SOLO5_MAX_ENTRIES];
	unsigned int count = list_nets(d, fds, handle);
	uint64_t ready = 0;

	if (count && poll(fds, count, 0) > 0)
		for (unsigned int i = 0; i < count; i++)
			ready |= (uint64_t)(fds[i].revents != 0) << handle[i];
	return ready;
}

static bool try_to_end_poll(struct solo5_device *d)
{
	bool told = access_is_told(&d->vm->vcpu.port);
	uint64_t ready = told ? 0 : look_at_nets(d);

	if (told && !access_was_done(&d->vm->vcpu.port, ACCESS_SOLO5))
		return false;
	if (!told && !ready && clock_now(&d->vm->clock) < d->deadline)
		return false;
	end_poll(d, ready);
	return true;
}

void solo5_sleep(struct solo5_device *d)
{
	struct pollfd fds[SOLO5_MAX_ENTRIES];
	uint8_t handle[SOLO5_MAX_ENTRIES];
	unsigned int count = list_nets(d, fds, handle);

	vcpu_sleep_watching(&d->vm->vcpu, fds, count);
}

void solo5_wait(struct solo5_device *d)
{
	struct vm *vm = d->vm;

	if (try_to_end_poll(d))
		return;
	console_flush(&vm->console);
	if (vm->console.blocked)
		return;
	if (vm->steering)
		vm->steering->ops->idle(vm->steering, vm);
	else
		solo5_sleep(d);
}

static void call_poll(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_poll call;

	if (!take(d, "poll", gpa, &call, sizeof(call), MEM_WRITE))
		return;
	d->poll_gpa = gpa;
	d->deadline = call.timeout_ns > CLOCK_MAX_NS ? CLOCK_NEVER : clock_now(&d->vm->clock) + call.timeout_ns;
	d->polling = true;
	if (!try_to_end_poll(d))
		clock_timer_set(&d->vm->clock, &d->timer, d->deadline);
}

/* A call of a device. */
struct asked {
	struct solo5_unit *unit;
	bool fits; /* the device can be asked that */
	int32_t result;
};

/* Whether it is to be done. An absent device is asked all the same: what was said of that follows. */
static bool may(struct solo5_device *d, struct asked *a)
{
	a->result = a->fits || (a->unit && a->unit->absent) ? SOLO5_OK : SOLO5_EINVAL;
	access_external(&d->vm->vcpu.port, ACCESS_SOLO5, &a->result, sizeof(a->result));
	return a->unit && a->result == SOLO5_OK && !vm_ended(d->vm);
}

static bool was_done(struct solo5_device *d, const struct asked *a)
{
	return !a->fits || access_was_done(&d->vm->vcpu.port, ACCESS_SOLO5);
}

static void tell_result(struct solo5_device *d, struct asked *a)
{
	access_external(&d->vm->vcpu.port, ACCESS_SOLO5, &a->result, sizeof(a->result));
}

static int32_t block_result(int r)
{
	return r == 0 ? SOLO5_OK : SOLO5_EUNSPEC;
}

/* These return false if the unikernel is killed for what it asked. */
static bool write_block(struct solo5_device *d, const struct solo5_block_io *io, struct asked *a)
{
	void *data = solo5_reach(d->vm, "block write", io->data, io->size, MEM_READ);

	if (!data)
		return false;
	if (!was_done(d, a)) {
		access_seen(&d->vm->vcpu.port);
		a->result = mem_bring_in(&d->vm->mem, data, io->size) ?
			block_result(solo5_block_write(&a->unit->block, io->offset, data, io->size)) : SOLO5_EUNSPEC;
	}
	tell_result(d, a);
	return true;
}

/* It is read even if it was before: of what was, only a part may be known. */
static bool read_block(struct solo5_device *d, const struct solo5_block_io *io, struct asked *a)
{
	void *data = solo5_reach(d->vm, "block read", io->data, io->size, MEM_WRITE);

	if (!data)
		return false;
	if (a->fits)
		a->result = block_result(solo5_block_read(&a->unit->block, io->offset, data, io->size));
	tell_result(d, a);
	access_external(&d->vm->vcpu.port, ACCESS_SOLO5, data, io->size);
	return true;
}

static void call_block(struct solo5_device *d, uint64_t gpa, const char *what,
		       bool (*run)(struct solo5_device *d, const struct solo5_block_io *io, struct asked *a))
{
	struct solo5_block_io io;
	uint8_t *at = take(d, what, gpa, &io, sizeof(io), MEM_WRITE);
	struct asked a = {.unit = at ? solo5_unit_of(&d->units, io.handle, SOLO5_BLOCK) : NULL};

	if (!at)
		return;
	a.fits = a.unit && !a.unit->absent && solo5_block_has(&a.unit->block, io.offset, io.size);
	if (!may(d, &a) || run(d, &io, &a))
		memcpy(at + BLOCK_OUT, &a.result, sizeof(a.result));
}

static void call_block_write(struct solo5_device *d, uint64_t gpa)
{
	call_block(d, gpa, "block write", write_block);
}

static void call_block_read(struct solo5_device *d, uint64_t gpa)
{
	call_block(d, gpa, "block read", read_block);
}

/* No room on the wire: the frame is lost, as frames may be. */
static bool send_frame(struct solo5_device *d, const struct solo5_net_io *io, struct asked *a)
{
	const void *data = solo5_reach(d->vm, "net write", io->data, io->size, MEM_READ);

	if (!data)
		return false;
	if (!was_done(d, a)) {
		access_seen(&d->vm->vcpu.port);
		a->result = mem_bring_in(&d->vm->mem, data, io->size) && solo5_net_write(&a->unit->net, data, io->size) != -EIO ? SOLO5_OK :
			SOLO5_EUNSPEC;
	}
	tell_result(d, a);
	return true;
}

/* One that was received before is not on the wire any more. */
static bool receive_frame(struct solo5_device *d, struct solo5_net_io *io, struct asked *a)
{
	const uint64_t room = io->size;
	void *data = solo5_reach(d->vm, "net read", io->data, room, MEM_WRITE);
	ssize_t n;

	if (!data)
		return false;
	io->ret = SOLO5_OK;
	if (!was_done(d, a)) {
		n = solo5_net_read(&a->unit->net, data, room);
		io->size = n < 0 ? room : (uint64_t)n;
		io->ret = n == -EAGAIN ? SOLO5_AGAIN : n < 0 ? SOLO5_EUNSPEC : SOLO5_OK;
	}
	access_external(&d->vm->vcpu.port, ACCESS_SOLO5, &io->size, sizeof(*io) - NET_OUT);
	io->size = io->size < room ? io->size : room;
	if (io->ret == SOLO5_OK)
		access_external(&d->vm->vcpu.port, ACCESS_SOLO5, data, io->size);
	return true;
}

static void call_net_write(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_net_io io;
	uint8_t *at = take(d, "net write", gpa, &io, sizeof(io), MEM_WRITE);
	struct asked a = {.unit = at ? solo5_unit_of(&d->units, io.handle, SOLO5_NET) : NULL};

	if (!at)
		return;
	a.fits = a.unit && !a.unit->absent && io.size >= SOLO5_NET_HEADER && io.size <= solo5_net_frame_max(&a.unit->net);
	if (!may(d, &a) || send_frame(d, &io, &a))
		memcpy(at + NET_RESULT, &a.result, sizeof(a.result));
}

static void call_net_read(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_net_io io;
	uint8_t *at = take(d, "net read", gpa, &io, sizeof(io), MEM_WRITE);
	struct asked a = {.unit = at ? solo5_unit_of(&d->units, io.handle, SOLO5_NET) : NULL};

	if (!at)
		return;
	a.fits = a.unit && !a.unit->absent && io.size >= solo5_net_frame_max(&a.unit->net);
	if (may(d, &a)) {
		if (receive_frame(d, &io, &a))
			memcpy(at + NET_OUT, &io.size, sizeof(io) - NET_OUT);
	} else {
		memcpy(at + NET_RESULT, &a.result, sizeof(a.result));
	}
}

static void call_halt(struct solo5_device *d, uint64_t gpa)
{
	struct solo5_halt call;

	if (!take(d, "halt", gpa, &call, sizeof(call), MEM_READ))
		return;
	if (call.cookie && !solo5_reach(d->vm, "halt", call.cookie, SOLO5_COOKIE_SIZE, MEM_READ))
		return;
	vm_end(d->vm, VM_EXITED, (uint8_t)call.status, "the guest ended with status %" PRId32, call.status);
}

static void (*const calls[SOLO5_CALLS])(struct solo5_device *d, uint64_t gpa) = {
	[SOLO5_CALL_WALLTIME] = call_walltime,
	[SOLO5_CALL_PUTS] = call_puts,
	[SOLO5_CALL_POLL] = call_poll,
	[SOLO5_CALL_BLOCK_WRITE] = call_block_write,
	[SOLO5_CALL_BLOCK_READ] = call_block_read,
	[SOLO5_CALL_NET_WRITE] = call_net_write,
	[SOLO5_CALL_NET_READ] = call_net_read,
	[SOLO5_CALL_HALT] = call_halt,
};

static void solo5_access(struct device *device, unsigned int range, struct access *a)
{
	struct solo5_device *d = (struct solo5_device *)device;

	if (vm_ended(d->vm))
		return; /* a string instruction's further elements */
	if (a->kind != ACCESS_PORT_WRITE || a->size != 4 || a->addr >= SOLO5_CALLS || !calls[a->addr])
		vm_kill(d->vm, "%s of %u bytes at port 0x%" PRIx64 ": no hypercall", access_is_read(a->kind) ? "read" : "write",
			a->size, SOLO5_PORT + a->addr);
	else if (d->polling)
		vm_kill(d->vm, "a hypercall during a poll");
	else
		calls[a->addr](d, a->value);
}

static bool solo5_timed(const struct device *d, unsigned int range, uint64_t offset)
{
	return true;
}

static void solo5_reset(struct device *device)
{
	struct solo5_device *d = (struct solo5_device *)device;

	d->polling = false;
	d->poll_gpa = 0;
	d->deadline = 0;
	clock_timer_set(&d->vm->clock, &d->timer, CLOCK_NEVER);
}

static void solo5_visit(struct device *device, struct state *s)
{
	struct solo5_device *d = (struct solo5_device *)device;

	state_begin(s, "solo5", 1);
	state_bool(s, &d->polling);
	state_u64(s, &d->poll_gpa);
	state_u64(s, &d->deadline);
	state_check(s, d->poll_gpa <= UINT32_MAX, "solo5: address of a poll");
	state_end(s);
	if (state_loading(s))
		clock_timer_set(&d->vm->clock, &d->timer, d->polling ? d->deadline : CLOCK_NEVER);
}

/* Has woken whoever sleeps for it; that is all. */
static void on_deadline(void *owner, uint64_t now)
{
}

void solo5_device_init(struct solo5_device *d, struct vm *vm)
{
	*d = (struct solo5_device){
		.device = {.name = "solo5", .timed = solo5_timed, .access = solo5_access, .reset = solo5_reset, .visit = solo5_visit},
		.vm = vm,
	};
	clock_timer_add(&vm->clock, &d->timer, on_deadline, d);
	bus_add(&vm->bus, &d->device);
	bus_claim(&vm->bus, &d->device, BUS_PORT, SOLO5_PORT, PORTS_SIZE, 0);
}
