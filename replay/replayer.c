#include "replay/replayer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/access_check.h"
#include "replay/boundary.h"
#include "replay/packed.h"
#include "replay/paging_name.h"
#include "replay/probe.h"
#include "replay/ram_digest.h"
#include "replay/replay_digest.h"
#include "replay/show_access.h"
#include "snapshot/reason.h"
#include "vmm/debug.h"
#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/vm.h"

static struct replayer *of_steering(struct steering *s)
{
	return (struct replayer *)((char *)s - offsetof(struct replayer, steering));
}

static struct replayer *of_tap(struct access_tap *t)
{
	return (struct replayer *)((char *)t - offsetof(struct replayer, tap));
}

static uint64_t position(const struct replayer *r)
{
	return r->vm->vcpu.port.position;
}

/* `at`: the last position of which nothing is known to be wrong. What was expected and found is said before, if it is known. */
static void diverge(struct replayer *r, enum divergence_kind kind, uint64_t at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void diverge(struct replayer *r, enum divergence_kind kind, uint64_t at, const char *fmt, ...)
{
	struct divergence *d = &r->divergence;
	va_list args;

	if (r->vm->end.kind == VM_DIVERGED)
		return;
	d->kind = kind;
	d->position = at;
	d->right = r->right;
	va_start(args, fmt);
	vsnprintf(d->what, sizeof(d->what), fmt, args);
	va_end(args);
	divergence_say(d, &r->passed, r->program, r->vm);
	if (vm_ended(r->vm)) /* by itself, where it did not before */
		r->vm->end = (struct vm_end){.kind = VM_RUNNING};
	vm_end(r->vm, VM_DIVERGED, 0, "after position %" PRIu64 ": %s", at, d->what);
}

/* The log says what was to come. */
static void expect_next(struct replayer *r)
{
	char text[DIVERGENCE_TEXT_ROOM];

	if (r->has_next && r->vm->end.kind != VM_DIVERGED)
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "%.150s at position %" PRIu64,
			 divergence_event(text, &r->next), r->next.position);
}

/* What the log says next, but for checks and marks. */
static void advance(struct replayer *r)
{
	struct reason why = {0};
	int n = 0;

	while (r->left && (n = log_reader_next(&r->events, &r->next, &why)) == 1) {
		r->left--;
		if (r->next.kind == EVENT_MARK && r->next.mark.what == MARK_BEGUN)
			r->reached = r->next.position + 1;
		else if (r->next.kind != EVENT_CHECKS && r->next.kind != EVENT_MARK)
			break;
		n = 0;
	}
	r->has_next = n == 1;
	if (n < 0)
		vm_end(r->vm, VM_BAD_INPUT, 0, "%s", why.text);
}

static bool ended_by_itself(const struct vm *vm)
{
	return vm->end.kind == VM_EXITED || vm->end.kind == VM_KILLED || vm->end.kind == VM_HOST_LIMIT;
}

/* The log says what cannot be; its checksums are right, but that says nothing of who made them. */
static void refuse(struct replayer *r, const char *what)
{
	if (ended_by_itself(r->vm))
		r->vm->end = (struct vm_end){.kind = VM_RUNNING};
	vm_end(r->vm, VM_BAD_INPUT, 0, "%s: %s that there cannot be, at position %" PRIu64, r->name, what, position(r));
}

static void bring_step(struct replayer *r)
{
	if (r->next.ns > CLOCK_MAX_NS - clock_now(&r->vm->clock)) {
		refuse(r, "a time");
		return;
	}
	clock_step(&r->vm->clock, r->next.ns);
	clock_run(&r->vm->clock);
}

/* What came then had waited when the guest was saved, and waits again. */
static void drop_typed(struct replayer *r, size_t size)
{
	size_t n = size < r->typed_before ? size : r->typed_before;

	console_drop(&r->vm->console, n);
	r->typed_before -= n;
}

static void bring_input(struct replayer *r)
{
	if (!console_receive(&r->vm->console, r->next.external.bytes, r->next.external.size))
		diverge(r, DIVERGED_ARRIVAL, position(r), "the console has no room for %u bytes of input that it had room for", r->next.external.size);
	drop_typed(r, r->next.external.size);
}

static void bring_interrupt(struct replayer *r)
{
	uint64_t at = position(r);
	uint32_t registers;

	expect_next(r);
	if (boundary_stand(r->vm, r->boundary) < 0) {
		vm_fail(r->vm, "the state of the vCPU cannot be read");
	} else if (vm_ended(r->vm) || position(r) != at) {
		diverge(r, DIVERGED_ARRIVAL, at, "an interrupt came in the middle of an instruction");
	} else if (!r->boundary->open) {
		diverge(r, DIVERGED_ARRIVAL, at, "the guest does not take the interrupt that it took, at 0x%" PRIx64, r->boundary->cpu.rip);
	} else if ((registers = boundary_check(r->boundary)) != r->next.interrupt.registers) {
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "check of registers %08x", r->next.interrupt.registers);
		snprintf(r->divergence.found, sizeof(r->divergence.found), "check of registers %08x", registers);
		diverge(r, DIVERGED_REGISTERS, at, "registers are not as they were when interrupt %u came, at 0x%" PRIx64,
			r->next.interrupt.vector, r->boundary->cpu.rip);
	} else if (!pic_pending(&r->vm->pic)) {
		diverge(r, DIVERGED_ARRIVAL, at, "interrupt %u is not there", r->next.interrupt.vector);
	} else {
		*r->divergence.expected = '\0';
		run_deliver_interrupt(r->vm);
	}
}

static void bring_page(struct replayer *r)
{
	uint64_t number = r->next.packed.page;
	uint8_t *page = number > UINT64_MAX >> PAGE_SHIFT ? NULL : mem_at(&r->vm->mem, number << PAGE_SHIFT, PAGE_SIZE, MEM_WRITE);

	if (!page || !packed_page_out(r->next.packed.bytes, r->next.packed.size, page))
		refuse(r, "a page");
}

static void bring_state(struct replayer *r)
{
	if (!packed_state_out(r->next.packed.bytes, r->next.packed.size, &r->boundary->cpu))
		refuse(r, "a state");
	else if (vm_go_on_from(r->vm, &r->boundary->cpu) < 0)
		vm_fail(r->vm, "the guest's state cannot be changed");
}

static bool is_async(const struct event *e)
{
	return e->kind == EVENT_PAGE || e->kind == EVENT_STATE;
}

static void gather(struct replayer *r)
{
	bool is_page = r->next.kind == EVENT_PAGE;
	int err;

	err = is_page ? async_point_add_page(&r->point, &r->next, &r->vm->mem) : async_point_add_state(&r->point, &r->next);
	if (err == -EBADMSG)
		refuse(r, is_page ? "a page" : "a state");
	else if (err < 0)
		vm_fail(r->vm, "no memory for an asynchronous point");
}

/* Before the first page is written nothing of it may be half done. */
static void stand_for_pages(struct replayer *r, enum event_kind before)
{
	if (!is_async(&r->next))
		return;
	if (before != EVENT_PAGE && boundary_stand(r->vm, r->boundary) < 0)
		vm_fail(r->vm, "the state of the vCPU cannot be read");
}

/* `at`: where the guest is, NULL = it has ended. */
static void compare_state(struct replayer *r, const struct boundary *at)
{
	const struct event *e = &r->next;
	bool same_paging = paging_is(r->program, r->mmu, e->digest.paging, e->digest.size);
	struct digest_difference d;
	enum digest_verdict v;

	if (replay_digest_compare(r->state, e, r->digests, at, same_paging, &v, &d) < 0) {
		vm_fail(r->vm, "what the guest has written cannot be found out");
		return;
	}
	memcpy(r->divergence.expected, d.expected, sizeof(d.expected));
	memcpy(r->divergence.found, d.found, sizeof(d.found));
	if (v == DIGEST_NONSENSE)
		refuse(r, "a digest");
	else if (v != DIGEST_SAME)
		diverge(r, v == DIGEST_RAM_DIFFERS ? DIVERGED_RAM : DIVERGED_REGISTERS, position(r), "%s", d.what);
	r->right = position(r);
	r->digests++;
}

static void bring_digest(struct replayer *r)
{
	uint64_t at = position(r);

	if (boundary_stand(r->vm, r->boundary) < 0)
		vm_fail(r->vm, "the state of the vCPU cannot be read");
	else if (vm_ended(r->vm) || position(r) != at)
		diverge(r, DIVERGED_ARRIVAL, at, "there was a digest in the middle of an instruction");
	else
		compare_state(r, r->boundary);
}

_Static_assert(EVENT_HOW_MOST == VM_STOPPED, "later ones are no end of a recorded guest");

static bool ends_by_itself(const struct event *e)
{
	return e->end.how == VM_EXITED || e->end.how == VM_KILLED || e->end.how == VM_HOST_LIMIT;
}

static void bring_end(struct replayer *r)
{
	if (r->over)
		return; /* nothing follows it */
	vm_end(r->vm, VM_REPLAYED, 0, "the recording ends here, at position %" PRIu64 ": %s", position(r), vm_end_name(r->next.end.how));
}

/* There is nothing more that the log could say; but it may have said that the guest gets further by itself. */
static bool has_said_all(const struct replayer *r)
{
	return !r->has_next && position(r) >= r->events.position;
}

static bool is_cut_off(const struct replayer *r)
{
	return has_said_all(r) && position(r) >= r->reached;
}

static void end_where_cut_off(struct replayer *r)
{
	if (r->over) {
		r->over(r);
		return;
	}
	vm_end(r->vm, VM_REPLAYED, 0, "the recording is cut off here, at position %" PRIu64, position(r));
}

static void (*const bring[EVENT_KINDS])(struct replayer *r) = {
	[EVENT_EXTERNAL] = bring_input, [EVENT_CLOCK] = bring_step, [EVENT_INTERRUPT] = bring_interrupt,
	[EVENT_PAGE] = bring_page,	[EVENT_STATE] = bring_state, [EVENT_END] = bring_end,		[EVENT_DIGEST] = bring_digest,
};

/* A device will ask for it, or the guest will do it. */
static bool comes_by_itself(const struct event *e)
{
	return (e->kind == EVENT_EXTERNAL && e->external.source != ACCESS_CONSOLE) || (e->kind == EVENT_END && ends_by_itself(e)) ||
	       (e->kind == EVENT_DIGEST && !e->digest.registers);
}

/* It is brought; what comes next? */
static void pass(struct replayer *r)
{
	if (vm_ended(r->vm))
		return;
	passed_event(&r->passed, &r->next);
	advance(r);
}

static bool is_due(const struct replayer *r)
{
	return !vm_ended(r->vm) && r->has_next && r->next.position == position(r) && !comes_by_itself(&r->next);
}

/* What is gathered is read again if the guest is put back: its bytes are no part of a mark. */
static void gather_point(struct replayer *r)
{
	if (r->point.whole)
		return;
	log_reader_mark(&r->events, &r->begin.events);
	r->begin.next = r->next;
	for (;;) {
		gather(r);
		if (vm_ended(r->vm) || r->point.whole)
			return;
		advance(r);
		if (!is_due(r) || !is_async(&r->next))
			break;
	}
	if (!vm_ended(r->vm))
		refuse(r, "pages without a state");
}

/* The guest is put to this point, and does not walk there. */
static bool is_put(const struct replayer *r)
{
	struct log_mark m;

	log_reader_mark(&r->events, &m);
	for (size_t i = 0; i < r->puts; i++) {
		if (r->put[i].block == m.at && r->put[i].byte == m.next)
			return true;
	}
	return false;
}

static void bring_due(struct replayer *r)
{
	enum event_kind before = EVENT_END;

	while (is_due(r)) {
		if (r->walks && is_async(&r->next) && before != EVENT_PAGE && !is_put(r)) {
			gather_point(r);
			break;
		}
		stand_for_pages(r, before);
		before = r->next.kind;
		bring[r->next.kind](r);
		pass(r);
	}
	if (!vm_ended(r->vm) && r->has_next && r->next.position < position(r)) {
		expect_next(r);
		diverge(r, DIVERGED_ARRIVAL, r->next.position, "what came there was passed by");
	}
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
		bring_due(r);
		if (r->follower && !vm_ended(vm))
			r->follower->look(r->follower, r);
	}
	if (vm_ended(vm))
		return;
	if (position(r) >= r->until)
		vm_end(vm, VM_REPLAYED, 0, "at position %" PRIu64 ", as --until says", position(r));
	else if (is_cut_off(r))
		end_where_cut_off(r);
}

static void idle(struct steering *s, struct vm *vm)
{
	struct replayer *r = of_steering(s);

	expect_next(r);
	diverge(r, DIVERGED_ARRIVAL, position(r), "the guest waits, and nothing wakes it that did");
}

const struct async_point *replayer_awaits(const struct replayer *r)
{
	return r->point.whole ? &r->point : NULL;
}

void replayer_reached(struct replayer *r)
{
	async_point_forget(&r->point);
	advance(r);
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
	replayer_reached(r);
}

bool replayer_rest(struct replayer *r)
{
	uint64_t at;

	do {
		at = position(r);
		if (boundary_stand(r->vm, r->boundary) < 0)
			vm_fail(r->vm, "the state of the vCPU cannot be read");
		if (!vm_ended(r->vm))
			bring_due(r);
	} while (!vm_ended(r->vm) && position(r) != at);
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
		bring[r->next.kind](r);
		pass(r);
	}
	if (!vm_ended(r->vm) && r->has_next && r->next.position <= at && !comes_by_itself(&r->next)) {
		expect_next(r);
		diverge(r, DIVERGED_ARRIVAL, at, "the guest goes on where something came to it");
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
	diverge(r, DIVERGED_ACCESS, at - 1, "the guest did something else: %s", text);
}

static void external(struct access_tap *t, uint64_t at, enum access_source source, void *bytes, size_t size)
{
	struct replayer *r = of_tap(t);
	uint8_t *to = bytes;

	while (size && !vm_ended(r->vm)) {
		uint32_t part = size < EVENT_EXTERNAL_MOST ? (uint32_t)size : EVENT_EXTERNAL_MOST;
		const struct event *e = &r->next;

		if (has_said_all(r) && r->over)
			return; /* they are what the device has brought */
		if (has_said_all(r)) {
			end_where_cut_off(r);
			return;
		}
		if (!r->has_next || e->position != at || e->kind != EVENT_EXTERNAL || e->external.source != source || e->external.size != part) {
			expect_next(r);
			diverge(r, DIVERGED_ACCESS, at, "a device asks for %u bytes, which it did not", part);
			return;
		}
		memcpy(to, e->external.bytes, part);
		to += part;
		size -= part;
		passed_event(&r->passed, e);
		advance(r);
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
		diverge(r, DIVERGED_ARRIVAL, at, "interrupt %u comes, and not %u", vector, r->next.interrupt.vector);
}

static void compare_end(struct replayer *r)
{
	const struct event *e = &r->next;
	const struct vm_end *found = &r->vm->end;
	uint64_t ram;

	if (!r->has_next || e->kind != EVENT_END || e->position != position(r) || e->end.how != found->kind || e->end.code != found->code) {
		expect_next(r);
		diverge(r, DIVERGED_END, position(r), "the guest ends (%s, code %u), which it did not", vm_end_name(found->kind), found->code);
	} else if (paging_is(r->program, r->mmu, e->end.paging, e->end.size) && ram_digest(&r->vm->mem, &ram) == 0 && ram != e->end.ram) {
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "digest of all of it %016" PRIx64, e->end.ram);
		snprintf(r->divergence.found, sizeof(r->divergence.found), "digest of all of it %016" PRIx64, ram);
		diverge(r, DIVERGED_RAM, position(r), "RAM is not as it was when the guest ended");
	}
}

/* If it ended by itself, that is how it is recorded. */
static void check_end(struct replayer *r, struct vm *vm)
{
	if (ended_by_itself(vm) && r->has_next && r->next.kind == EVENT_DIGEST && r->next.position == position(r)) {
		compare_state(r, NULL);
		if (ended_by_itself(vm))
			advance(r);
	}
	if (ended_by_itself(vm) && !is_cut_off(r))
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
	if (r->begun != position(r))
		return log_bad(EINVAL, "%s: begins at position %" PRIu64 ", and its snapshot is of position %" PRIu64, r->name, r->begun,
			       position(r));
	r->typed_before = r->over ? console_waiting(&vm->console) : 0;
	clock_hold(&vm->clock);
	virtio_devices_show(&vm->virtio, vm);
	vm->vcpu.port.tap = &r->tap;
	vm->steering = &r->steering;
	advance(r);
	return vm_ended(vm) ? log_bad(EINVAL, "%s", vm->end.reason) : 0;
}
