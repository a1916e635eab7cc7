#include "replay/replayer.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/access_check.h"
#include "replay/boundary.h"
#include "replay/paging_name.h"
#include "replay/probe.h"
#include "replay/ram_digest.h"
#include "replay/replay_digest.h"
#include "replay/replayer_bring.h"
#include "replay/show_access.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/vm.h"

static struct replayer *of_steering(struct steering *s)
{
	return (struct replayer *)((char *)s - offsetof(struct replayer, steering));
}

static struct replayer *of_tap(struct access_tap *t)
{
	return (struct replayer *)((char *)t - offsetof(struct replayer, tap));
}

static void due(struct steering *s, struct vm *vm)
{
	struct replayer *r = of_steering(s);

	if (vm->mmu != r->mmu)
		r->mmu = NULL;
	clock_stop(&vm->clock);
	vm->mmu->interruptible(&vm->vcpu); /* an access may only be complete then (mmu.h) */
	if (r->probe && !vm->console.blocked && !vm_ended(vm) && probe_look(r->probe, vm, r->boundary, &r->state->probed, &r->passed) < 0)
		vm_fail(vm, "the guest cannot be looked at");
	if (!vm->console.blocked && !vm_ended(vm)) {
		replayer_bring_due(r);
		if (r->follower && !vm_ended(vm))
			r->follower->look(r->follower, r);
	}
	if (vm_ended(vm))
		return;
	if (replayer_position(r) >= r->until)
		vm_end(vm, VM_REPLAYED, 0, "at position %" PRIu64 ", as --until says", replayer_position(r));
	else if (replayer_is_cut_off(r))
		replayer_end_where_cut_off(r);
}

static void idle(struct steering *s, struct vm *vm)
{
	struct replayer *r = of_steering(s);

	replayer_expect_next(r);
	replayer_diverge(r, DIVERGED_ARRIVAL, replayer_position(r), "the guest waits, and nothing wakes it that did");
}


bool replayer_rest(struct replayer *r)
{
	uint64_t at;

	do {
		at = replayer_position(r);
		if (boundary_stand(r->vm, r->boundary) < 0)
			vm_fail(r->vm, "the state of the vCPU cannot be read");
		if (!vm_ended(r->vm))
			replayer_bring_due(r);
	} while (!vm_ended(r->vm) && replayer_position(r) != at);
	return !vm_ended(r->vm);
}

/* It needs no instruction's end: where KVM was let go on to that, it comes between two accesses of the instruction. */
static bool comes_within(const struct event *e)
{
	return e->kind == EVENT_CLOCK || (e->kind == EVENT_EXTERNAL && e->external.source == ACCESS_CONSOLE);
}

/* What of it has no place but between two instructions was due before. */
static void before(struct access_tap *t, uint64_t at, const struct access *a)
{
	struct replayer *r = of_tap(t);

	while (!vm_ended(r->vm) && r->has_next && r->next.position == at && comes_within(&r->next)) {
		replayer_bring_next(r);
	}
	if (replayer_awaits(r)) {
		vm_end(r->vm, VM_DIVERGED, 0, "after position %" PRIu64 ": the guest was led past an asynchronous point", at);
	} else if (!vm_ended(r->vm) && r->has_next && r->next.position <= at && !replayer_comes_by_itself(&r->next)) {
		replayer_expect_next(r);
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "the guest goes on where something came to it");
	}
}

static void after(struct access_tap *t, uint64_t at, const struct access *a)
{
	struct replayer *r = of_tap(t);
	char text[SHOW_ACCESS_ROOM];
	uint8_t check;

	r->digest = access_check(r->digest, a);
	if (r->vm->end.kind == VM_DIVERGED)
		return;
	if (!check_stream_next(&r->checks, &check) || check == (uint8_t)r->digest) {
		passed_access(&r->passed, at, a);
		return;
	}
	r->divergence.access = *a;
	r->divergence.has_access = true;
	snprintf(r->divergence.expected, sizeof(r->divergence.expected), "an access whose check is %02x", check);
	snprintf(r->divergence.found, sizeof(r->divergence.found), "%s, whose check is %02x", show_access(text, a), (uint8_t)r->digest);
	replayer_diverge(r, DIVERGED_ACCESS, at - 1, "the guest did something else: %s", text);
}

static void external(struct access_tap *t, uint64_t at, enum access_source source, void *bytes, size_t size)
{
	struct replayer *r = of_tap(t);
	uint8_t *to = bytes;

	while (size && !vm_ended(r->vm)) {
		uint32_t part = size < EVENT_EXTERNAL_MOST ? (uint32_t)size : EVENT_EXTERNAL_MOST;
		const struct event *e = &r->next;

		if (replayer_has_said_all(r) && r->over)
			return; /* they are what the device has brought */
		if (replayer_has_said_all(r)) {
			replayer_end_where_cut_off(r);
			return;
		}
		if (!r->has_next || e->position != at || e->kind != EVENT_EXTERNAL || e->external.source != source || e->external.size != part) {
			replayer_expect_next(r);
			replayer_diverge(r, DIVERGED_ACCESS, at, "a device asks for %u bytes, which it did not", part);
			return;
		}
		memcpy(to, e->external.bytes, part);
		to += part;
		size -= part;
		passed_event(&r->passed, e);
		replayer_advance(r);
	}
}

/* Its outcome is in the log: only what has been done has one. */
static bool was_done(struct access_tap *t, uint64_t at, enum access_source source)
{
	const struct replayer *r = of_tap(t);

	return r->has_next && r->next.position == at && r->next.kind == EVENT_EXTERNAL && r->next.external.source == source;
}

static void interrupt(struct access_tap *t, uint64_t at, uint8_t vector)
{
	struct replayer *r = of_tap(t);

	if (vector != r->next.interrupt.vector)
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "interrupt %u comes, and not %u", vector, r->next.interrupt.vector);
}

/* Where the host cannot go on in its mode it says so itself, and the guest did nothing else than it had done. */
static void compare_end(struct replayer *r)
{
	const struct event *e = &r->next;
	const struct vm_end *found = &r->vm->end;
	bool as_recorded = r->has_next && e->kind == EVENT_END && e->position == replayer_position(r) && e->end.how == found->kind &&
			   e->end.code == found->code;
	uint64_t ram;

	if (!as_recorded && found->kind == VM_HOST_LIMIT)
		return;
	if (!as_recorded) {
		replayer_expect_next(r);
		replayer_diverge(r, DIVERGED_END, replayer_position(r), "the guest ends (%s, code %u), which it did not", vm_end_name(found->kind), found->code);
	} else if (paging_is(r->program, r->mmu, e->end.paging, e->end.size) && ram_digest(&r->vm->mem, &ram) == 0 && ram != e->end.ram) {
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "digest of all of it %016" PRIx64, e->end.ram);
		snprintf(r->divergence.found, sizeof(r->divergence.found), "digest of all of it %016" PRIx64, ram);
		replayer_diverge(r, DIVERGED_RAM, replayer_position(r), "RAM is not as it was when the guest ended");
	}
}

/* If it ended by itself, that is how it is recorded. */
static void check_end(struct replayer *r, struct vm *vm)
{
	if (replayer_ended_by_itself(vm) && r->has_next && r->next.kind == EVENT_DIGEST && r->next.position == replayer_position(r)) {
		replayer_compare_state(r, NULL);
		if (replayer_ended_by_itself(vm))
			replayer_advance(r);
	}
	if (replayer_ended_by_itself(vm) && !replayer_is_cut_off(r))
		compare_end(r);
	if (r->probe)
		probe_end(r->probe, vm, &r->divergence);
}

static void ended(struct steering *s, struct vm *vm)
{
	struct replayer *r = of_steering(s);

	check_end(r, vm);
	if (r->follower && r->follower->ended)
		r->follower->ended(r->follower, r);
	if (vm_ended(vm))
		replay_digest_end(r->state);
}

static struct json_t *stats(const struct steering *s)
{
	return NULL;
}

static const struct steering_ops ops = {.due = due, .idle = idle, .ended = ended, .stats = stats};

int replayer_open(struct replayer *r, const struct program *p, int fd, const char *name, uint64_t until, struct reason *why)
{
	int err;

	*r = (struct replayer){
		.steering.ops = &ops,
		.tap = {.before = before, .access = after, .external = external, .interrupt = interrupt, .was_done = was_done},
		.name = name,
		.program = p,
		.until = until,
		.right = UINT64_MAX,
		.left = UINT64_MAX,
		.boundary = malloc(sizeof(*r->boundary)),
		.state = calloc(1, sizeof(*r->state)),
	};
	err = r->boundary && r->state ? 0 : reason_errno(why, ENOMEM, "%s", name);
	if (err < 0)
		goto boundary;
	err = log_reader_open(&r->events, fd, name, why);
	if (err < 0)
		goto boundary;
	err = check_stream_open(&r->checks, fd, name, why);
	if (err < 0)
		goto events;
	r->begun = r->events.header.position;
	return 0;
events:
	log_reader_close(&r->events);
boundary:
	free(r->state);
	free(r->boundary);
	return err;
}

void replayer_close(struct replayer *r)
{
	async_point_forget(&r->point);
	free(r->put);
	check_stream_close(&r->checks);
	log_reader_close(&r->events);
	replay_digest_free(r->state);
	free(r->boundary);
}

void replayer_mark(const struct replayer *r, struct replayer_mark *m)
{
	*m = (struct replayer_mark){.next = r->next, .has_next = r->has_next, .digest = r->digest, .passed = r->passed, .right = r->right,
				   .digests = r->digests, .reached = r->reached, .left = r->left, .typed_before = r->typed_before};
	if (r->point.whole) {
		m->events = r->begin.events;
		m->next = r->begin.next;
	} else {
		log_reader_mark(&r->events, &m->events);
	}
	check_stream_mark(&r->checks, &m->checks);
}

int replayer_return(struct replayer *r, const struct replayer_mark *m, struct reason *why)
{
	int err = log_reader_return(&r->events, &m->events, why);

	async_point_forget(&r->point);
	if (err == 0)
		err = check_stream_return(&r->checks, &m->checks, why);
	r->next = m->next;
	r->has_next = m->has_next;
	r->digest = m->digest;
	r->passed = m->passed;
	r->right = m->right;
	r->digests = m->digests;
	r->reached = m->reached;
	r->left = m->left;
	r->typed_before = m->typed_before;
	return err;
}

static int skip(struct log_reader *l, uint64_t events, struct reason *why)
{
	struct event e;
	int n = 1;

	while (events-- && n == 1)
		n = log_reader_next(l, &e, why);
	return n == 0 ? reason_give(why, EBADMSG, "%s: has become shorter", l->name) : n < 0 ? n : 0;
}

int replayer_go_to(struct replayer *r, uint64_t events, uint64_t position, uint64_t digest, uint64_t use, struct reason *why)
{
	int err = skip(&r->events, events, why);

	if (err == 0)
		err = skip(&r->checks.reader, events, why);
	r->begun = position;
	r->digest = digest;
	r->left = use;
	return err;
}

void replayer_let_go(struct replayer *r)
{
	struct vm *vm = r->vm;

	vm->steering = NULL;
	vm->vcpu.port.tap = NULL;
	virtio_devices_hide(&vm->virtio);
	clock_release(&vm->clock);
	clock_start(&vm->clock);
	vcpu_forget_timer(&vm->vcpu);
	vcpu_kick(&vm->vcpu); /* what came meanwhile is to be seen before it runs or sleeps */
}

int replayer_begin(struct replayer *r, struct vm *vm)
{
	r->vm = vm;
	r->mmu = vm->mmu;
	replay_digest_init(r->state, vm);
	if (r->begun != replayer_position(r))
		return log_bad(EINVAL, "%s: begins at position %" PRIu64 ", and its snapshot is of position %" PRIu64, r->name, r->begun,
			       replayer_position(r));
	r->typed_before = r->over ? console_waiting(&vm->console) : 0;
	clock_hold(&vm->clock);
	virtio_devices_show(&vm->virtio, vm);
	vm->vcpu.port.tap = &r->tap;
	vm->steering = &r->steering;
	replayer_advance(r);
	return vm_ended(vm) ? log_bad(EINVAL, "%s", vm->end.reason) : 0;
}
