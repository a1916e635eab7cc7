#include "replay/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "replay/access_check.h"
#include "replay/boundary.h"
#include "replay/packed.h"
#include "replay/paging_name.h"
#include "replay/ram_digest.h"
#include "snapshot/host_time.h"
#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/vm.h"

/* How long a guest that makes no access may keep an interrupt waiting. */
#define PATIENCE_NS 1000000u

static struct recorder *of_steering(struct steering *s)
{
	return (struct recorder *)((char *)s - offsetof(struct recorder, steering));
}

static struct recorder *of_tap(struct access_tap *t)
{
	return (struct recorder *)((char *)t - offsetof(struct recorder, tap));
}

/* The guest goes on if its log does not: what is there can be replayed. */
static void put(struct recorder *r, const struct event *e)
{
	int err = log_writer_put(r->log, e);

	if (err == 0 || r->failed)
		return;
	r->failed = true;
	log_print(LOG_ERROR, "%s: %s: the recording ends here, the guest goes on", r->name, strerrordesc_np(-err));
}

static uint64_t position(const struct recorder *r)
{
	return r->vm->vcpu.port.position;
}

static void put_checks(struct recorder *r)
{
	struct event e = {.kind = EVENT_CHECKS, .position = position(r), .checks = {r->check_count, r->checks}};

	if (r->check_count)
		put(r, &e);
	r->check_count = 0;
}

static void step(struct recorder *r)
{
	struct event e = {.kind = EVENT_CLOCK, .position = position(r), .ns = clock_behind(&r->vm->clock)};

	put(r, &e);
	clock_step(&r->vm->clock, e.ns);
	clock_run(&r->vm->clock);
}

static void before(struct access_tap *t, uint64_t at, const struct access *a)
{
	struct recorder *r = of_tap(t);

	r->in_access = true;
	r->begun = false;
	if (a->kind != ACCESS_HLT && bus_is_timed(&r->vm->bus, a))
		step(r);
}

static void after(struct access_tap *t, uint64_t at, const struct access *a)
{
	struct recorder *r = of_tap(t);

	r->in_access = false;
	r->digest = access_check(r->digest, a);
	r->checks[r->check_count++] = (uint8_t)r->digest;
	if (r->check_count == EVENT_CHECKS_MOST)
		put_checks(r);
}

static void external(struct access_tap *t, uint64_t at, enum access_source source, void *bytes, size_t size)
{
	const uint8_t *from = bytes;

	while (size) {
		uint32_t part = size < EVENT_EXTERNAL_MOST ? (uint32_t)size : EVENT_EXTERNAL_MOST;
		struct event e = {.kind = EVENT_EXTERNAL, .position = at, .external = {source, part, from}};

		put(of_tap(t), &e);
		from += part;
		size -= part;
	}
}

static void interrupt(struct access_tap *t, uint64_t at, uint8_t vector)
{
	struct recorder *r = of_tap(t);
	struct event e = {.kind = EVENT_INTERRUPT, .position = at, .interrupt = {vector, r->registers}};

	put(r, &e);
	r->waiting_since = 0;
	r->counts.interrupts++;
}

static void put_mark(struct recorder *r, struct event *e)
{
	e->kind = EVENT_MARK;
	e->position = position(r);
	put(r, e);
}

/*
 * Who goes on from this log gets here, and does this, before anything else can happen. Of an access that is being made already nothing
 * else can be seen that does not follow from what was there when it began.
 */
static void seen(struct access_tap *t, uint64_t at)
{
	struct recorder *r = of_tap(t);
	struct event e = {.mark.what = MARK_BEGUN};

	if (r->in_access && r->begun)
		return;
	put_checks(r);
	if (r->in_access)
		put_mark(r, &e);
	r->begun = r->in_access;
	log_writer_flush(r->log);
}

static void saved(struct steering *s, const uint8_t id[STEERING_ID_BYTES], const uint8_t of[STEERING_ID_BYTES])
{
	struct recorder *r = of_steering(s);
	struct event e = {.mark = {.what = of ? MARK_COPIED : MARK_SAVED, .digest = r->digest}};

	_Static_assert(sizeof(e.mark.id) == STEERING_ID_BYTES, "they are the same ones");
	memcpy(e.mark.id, id, sizeof(e.mark.id));
	if (of)
		memcpy(e.mark.of, of, sizeof(e.mark.of));
	put_checks(r);
	put_mark(r, &e);
	log_writer_flush(r->log);
}

static int put_page(void *arg, uint64_t gpa, uint64_t size)
{
	struct recorder *r = arg;

	for (uint64_t end = gpa + size; gpa < end; gpa += PAGE_SIZE) {
		uint8_t bytes[PAGE_SIZE];
		uint32_t n = packed_page(mem_at(&r->vm->mem, gpa, PAGE_SIZE, MEM_READ), bytes);
		struct event e = {.kind = EVENT_PAGE, .position = position(r), .packed = {gpa >> PAGE_SHIFT, n, bytes}};

		put(r, &e);
		r->counts.pages++;
		r->counts.packed_bytes += n;
	}
	return 0;
}

static int put_state(struct recorder *r)
{
	uint8_t bytes[EVENT_PACKED_MOST];
	int64_t n = packed_state(&r->boundary->cpu, bytes);
	struct event e = {.kind = EVENT_STATE, .position = position(r), .packed = {0, (uint32_t)n, bytes}};

	if (n < 0)
		return log_errno(ENOMEM, "state of an asynchronous point");
	put(r, &e);
	r->counts.packed_bytes += (uint64_t)n;
	r->counts.asynchronous++;
	return 0;
}

/* All that the guest did since nobody could see it: what it wrote since the last such point, and where it is. */
static int put_point(struct recorder *r)
{
	int err = dirty_take(&r->vm->dirty, &r->consumer, &r->taken);

	if (err == 0)
		err = dirty_walk(&r->vm->dirty, &r->taken, put_page, r);
	return err < 0 ? err : put_state(r);
}

/* Input for which the guest has no room does not: nothing would come of waiting for it. */
static bool wants_to_come(struct vm *vm)
{
	return pic_pending(&vm->pic) || console_has_for_guest(&vm->console);
}

/* In the middle of a string instruction nothing may come, not even input: where that is, is another place in another mode. */
static void offer(struct recorder *r, bool at_point)
{
	struct vm *vm = r->vm;

	if (!console_has_for_guest(&vm->console) && !(pic_pending(&vm->pic) && r->open))
		return;
	if (boundary_stand(vm, r->boundary) < 0)
		vm_fail(vm, "the state of the vCPU cannot be read");
	if (vm_ended(vm) || (r->boundary->in_string && !at_point))
		return;
	console_feed(&vm->console);
	if (!pic_pending(&vm->pic) || !r->boundary->open)
		return;
	r->registers = boundary_check(r->boundary);
	run_deliver_interrupt(vm);
}

/*
 * Something has waited long enough for an access behind which it could come: the guest computes, or is shut to interrupts whenever it makes
 * one. Until it is open nothing would come of it, and then KVM says so (wait_for_window()).
 */
static bool is_time(struct recorder *r, bool boundary)
{
	uint64_t now = host_ns(), passed;

	if (!wants_to_come(r->vm)) {
		r->waiting_since = 0;
		return false;
	}
	if (!r->waiting_since)
		r->waiting_since = now;
	passed = now - r->waiting_since;
	if (r->open && (boundary || passed < PATIENCE_NS))
		vcpu_be_brief(&r->vm->vcpu, passed < PATIENCE_NS ? PATIENCE_NS - passed : PATIENCE_NS);
	return r->open && !boundary && passed >= PATIENCE_NS;
}

static void wait_for_window(struct recorder *r)
{
	struct vcpu *v = &r->vm->vcpu;

	if (r->waiting_since || r->windowed)
		r->vm->mmu->window(v, r->waiting_since && !r->vm->mmu->interruptible(v));
	r->windowed = r->waiting_since;
}

/* Where the guest is in its instructions does not matter: replay gets there by this, and not by them. */
static bool make_point(struct recorder *r)
{
	uint64_t start = host_ns();

	if (boundary_stand(r->vm, r->boundary) < 0) {
		vm_fail(r->vm, "the state of the vCPU cannot be read");
		return false;
	}
	if (!vm_ended(r->vm) && r->boundary->open && put_point(r) < 0)
		vm_fail(r->vm, "what the guest has written cannot be found out");
	r->counts.point_ns += host_ns() - start;
	return !vm_ended(r->vm) && r->boundary->open;
}

static uint64_t happened(const struct recorder *r)
{
	return position(r) + r->log->all_events;
}

/* Before anything comes to the guest here: what was brought and not yet taken is not the same in every mode. */
static void put_digest(struct recorder *r)
{
	uint64_t start = host_ns();
	struct event e;

	if (boundary_stand(r->vm, r->boundary) < 0) {
		vm_fail(r->vm, "the state of the vCPU cannot be read");
	} else if (vm_ended(r->vm) || r->boundary->in_string) {
		record_digest_put_off(r->state);
	} else if (record_digest_take(r->state, r->program, r->mmu, r->boundary, &e, happened(r)) < 0) {
		vm_fail(r->vm, "what the guest has written cannot be found out");
	} else {
		e.position = position(r);
		put(r, &e);
		r->counts.digests++;
	}
	r->counts.digest_ns += host_ns() - start;
}

static void due(struct steering *s, struct vm *vm)
{
	struct recorder *r = of_steering(s);
	bool boundary, point;

	r->open = vm->mmu->interruptible(&vm->vcpu); /* first: an access may only be complete then */
	if (vm_ended(vm))
		return; /* by that access: nothing comes to it any more, not even time */
	boundary = vm->vcpu.halted || position(r) != r->ran_from;
	if (vm->mmu != r->mmu)
		r->mmu = NULL;
	if (clock_wait(&vm->clock) == 0)
		step(r);
	if (vm->console.blocked || vm_ended(vm))
		return;
	if (boundary && !r->failed && record_digest_is_due(r->state, happened(r)))
		put_digest(r);
	if (vm_ended(vm))
		return;
	point = is_time(r, boundary) && make_point(r);
	if (point)
		r->waiting_since = 0;
	if (boundary || point)
		offer(r, point);
	if (!vm_ended(vm))
		wait_for_window(r);
	r->ran_from = position(r);
}

/* Who is killed while he waits has written what there was. */
static void idle(struct steering *s, struct vm *vm)
{
	struct recorder *r = of_steering(s);

	put_checks(r);
	log_writer_flush(r->log);
	if (vm->solo5.polling)
		solo5_sleep(&vm->solo5);
	else
		vcpu_sleep(&vm->vcpu);
}

/* Which page is not as it was is told by this, and that one is not by the last event. */
static void put_last_digest(struct recorder *r, enum vm_end_kind how)
{
	uint64_t start = host_ns();
	struct event e;

	if ((how != VM_EXITED && how != VM_KILLED && how != VM_HOST_LIMIT) || !r->mmu || !state_digest_can(&r->state->state))
		return;
	if (record_digest_take(r->state, r->program, r->mmu, NULL, &e, happened(r)) < 0)
		return;
	e.position = position(r);
	put(r, &e);
	r->counts.digests++;
	r->counts.digest_ns += host_ns() - start;
}

static void put_end(struct recorder *r, enum vm_end_kind how, uint8_t code)
{
	char paging[PAGING_NAME_ROOM] = "";
	struct event e = {.kind = EVENT_END, .position = position(r), .end = {.how = (uint8_t)how, .code = code, .paging = paging}};

	if (r->mmu && ram_digest(&r->vm->mem, &e.end.ram) == 0)
		paging_name(paging, r->program, r->mmu);
	e.end.size = (uint8_t)strlen(paging);
	put_checks(r);
	put_last_digest(r, how);
	put(r, &e);
	log_writer_flush(r->log);
}

static void report(const struct recorder *r)
{
	const struct recorder_counts *c = &r->counts;

	log_print(LOG_INFO, "%s: %" PRIu64 " events in %" PRIu64 " bytes; %" PRIu64 " interrupts; %" PRIu64 " asynchronous points took %" PRIu64
		  " pages and %" PRIu64 " bytes", r->name, r->log->all_events, r->log->at, c->interrupts, c->asynchronous, c->pages,
		  c->packed_bytes);
}

/* What is written down ends with this; the numbers stay. */
static void end(struct recorder *r, enum vm_end_kind how, uint8_t code)
{
	put_end(r, how, code);
	if (!r->failed)
		report(r);
	if (r->noting)
		dirty_end(&r->vm->dirty, &r->consumer);
	r->noting = false;
	state_digest_end(&r->state->state);
	r->vm->vcpu.port.tap = NULL;
	r->at_end(r);
}

static void ended(struct steering *s, struct vm *vm)
{
	end(of_steering(s), vm->end.kind, vm->end.code);
}

void recorder_stop(struct recorder *r)
{
	struct vm *vm = r->vm;

	end(r, VM_STOPPED, 0);
	vm->steering = NULL;
	virtio_devices_hide(&vm->virtio);
	clock_release(&vm->clock);
	vcpu_forget_timer(&vm->vcpu);
}

static struct json_t *stats(const struct steering *s)
{
	const struct recorder *r = (const struct recorder *)((const char *)s - offsetof(struct recorder, steering));
	const struct recorder_counts *c = &r->counts;

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "failed", r->failed, "events", (json_int_t)r->log->all_events, "bytes",
			 (json_int_t)(r->log->at + r->log->used), "interrupts", (json_int_t)c->interrupts, "points",
			 (json_int_t)c->asynchronous, "point_pages", (json_int_t)c->pages, "point_bytes", (json_int_t)c->packed_bytes,
			 "point_us", (json_int_t)(c->point_ns / 1000), "digests", (json_int_t)c->digests, "digest_us",
			 (json_int_t)(c->digest_ns / 1000));
}

static const struct steering_ops ops = {.due = due, .idle = idle, .ended = ended, .stats = stats, .saved = saved};

static int begin_noting(struct recorder *r)
{
	int err = dirty_set_alloc(&r->vm->dirty, &r->taken);

	if (err == 0)
		err = dirty_begin(&r->vm->dirty, &r->consumer);
	r->noting = err == 0;
	return err;
}

int recorder_begin(struct recorder *r, const struct program *p, struct vm *vm, struct log_writer *log, const char *name,
		   void (*at_end)(struct recorder *r))
{
	*r = (struct recorder){
		.steering.ops = &ops,
		.tap = {.before = before, .access = after, .external = external, .interrupt = interrupt, .seen = seen},
		.vm = vm,
		.log = log,
		.at_end = at_end,
		.name = name,
		.program = p,
		.mmu = vm->mmu,
		.ran_from = vm->vcpu.port.position,
		.boundary = malloc(sizeof(*r->boundary)),
		.state = calloc(1, sizeof(*r->state)),
	};
	if (!r->boundary || !r->state)
		return log_errno(ENOMEM, "%s", name);
	record_digest_begin(r->state, vm);
	clock_hold(&vm->clock);
	virtio_devices_show(&vm->virtio, vm);
	vm->vcpu.port.tap = &r->tap;
	vm->steering = &r->steering;
	vm->mmu->window(&vm->vcpu, false); /* a wish from before would stop the guest again and again */
	return begin_noting(r);
}

void recorder_free(struct recorder *r)
{
	dirty_set_free(&r->taken);
	if (r->state)
		state_digest_free(&r->state->state);
	free(r->state);
	free(r->boundary);
}
