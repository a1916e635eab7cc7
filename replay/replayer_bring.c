#include "replay/replayer_bring.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "replay/boundary.h"
#include "replay/packed.h"
#include "replay/paging_name.h"
#include "replay/replay_digest.h"
#include "replay/replayer.h"
#include "snapshot/reason.h"
#include "vmm/run.h"
#include "vmm/vm.h"

uint64_t replayer_position(const struct replayer *r)
{
	return r->vm->vcpu.port.position;
}

void replayer_diverge(struct replayer *r, enum divergence_kind kind, uint64_t at, const char *fmt, ...)
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

void replayer_expect_next(struct replayer *r)
{
	char text[DIVERGENCE_TEXT_ROOM];

	if (r->has_next && r->vm->end.kind != VM_DIVERGED)
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "%.150s at position %" PRIu64,
			 divergence_event(text, &r->next), r->next.position);
}

void replayer_advance(struct replayer *r)
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

bool replayer_ended_by_itself(const struct vm *vm)
{
	return vm->end.kind == VM_EXITED || vm->end.kind == VM_KILLED || vm->end.kind == VM_HOST_LIMIT;
}

void replayer_refuse(struct replayer *r, const char *what)
{
	if (replayer_ended_by_itself(r->vm))
		r->vm->end = (struct vm_end){.kind = VM_RUNNING};
	vm_end(r->vm, VM_BAD_INPUT, 0, "%s: %s that there cannot be, at position %" PRIu64, r->name, what, replayer_position(r));
}

static void bring_step(struct replayer *r)
{
	if (r->next.ns > CLOCK_MAX_NS - clock_now(&r->vm->clock)) {
		replayer_refuse(r, "a time");
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
		replayer_diverge(r, DIVERGED_ARRIVAL, replayer_position(r), "the console has no room for %u bytes of input that it had room for", r->next.external.size);
	drop_typed(r, r->next.external.size);
}

static void bring_interrupt(struct replayer *r)
{
	uint64_t at = replayer_position(r);
	uint32_t registers;

	replayer_expect_next(r);
	if (boundary_stand(r->vm, r->boundary) < 0) {
		vm_fail(r->vm, "the state of the vCPU cannot be read");
	} else if (vm_ended(r->vm) || replayer_position(r) != at) {
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "an interrupt came in the middle of an instruction");
	} else if (!r->boundary->open) {
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "the guest does not take the interrupt that it took, at 0x%" PRIx64, r->boundary->cpu.rip);
	} else if ((registers = boundary_check(r->boundary)) != r->next.interrupt.registers) {
		snprintf(r->divergence.expected, sizeof(r->divergence.expected), "check of registers %08x", r->next.interrupt.registers);
		snprintf(r->divergence.found, sizeof(r->divergence.found), "check of registers %08x", registers);
		replayer_diverge(r, DIVERGED_REGISTERS, at, "registers are not as they were when interrupt %u came, at 0x%" PRIx64,
			r->next.interrupt.vector, r->boundary->cpu.rip);
	} else if (!pic_pending(&r->vm->pic)) {
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "interrupt %u is not there", r->next.interrupt.vector);
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
		replayer_refuse(r, "a page");
}

static void bring_state(struct replayer *r)
{
	if (!packed_state_out(r->next.packed.bytes, r->next.packed.size, &r->boundary->cpu))
		replayer_refuse(r, "a state");
	else if (vm_go_on_from(r->vm, &r->boundary->cpu) < 0)
		vm_fail(r->vm, "the guest's state cannot be changed");
}

bool replayer_is_async(const struct event *e)
{
	return e->kind == EVENT_PAGE || e->kind == EVENT_STATE;
}

/* Before the first page is written nothing of it may be half done. */
static void stand_for_pages(struct replayer *r, enum event_kind before)
{
	if (!replayer_is_async(&r->next))
		return;
	if (before != EVENT_PAGE && boundary_stand(r->vm, r->boundary) < 0)
		vm_fail(r->vm, "the state of the vCPU cannot be read");
}

/* `at`: where the guest is, NULL = it has ended. */
void replayer_compare_state(struct replayer *r, const struct boundary *at)
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
		replayer_refuse(r, "a digest");
	else if (v != DIGEST_SAME)
		replayer_diverge(r, v == DIGEST_RAM_DIFFERS ? DIVERGED_RAM : DIVERGED_REGISTERS, replayer_position(r), "%s", d.what);
	r->right = replayer_position(r);
	r->digests++;
}

static void bring_digest(struct replayer *r)
{
	uint64_t at = replayer_position(r);

	if (boundary_stand(r->vm, r->boundary) < 0)
		vm_fail(r->vm, "the state of the vCPU cannot be read");
	else if (vm_ended(r->vm) || replayer_position(r) != at)
		replayer_diverge(r, DIVERGED_ARRIVAL, at, "there was a digest in the middle of an instruction");
	else
		replayer_compare_state(r, r->boundary);
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
	vm_end(r->vm, VM_REPLAYED, 0, "the recording ends here, at position %" PRIu64 ": %s", replayer_position(r), vm_end_name(r->next.end.how));
}

/* There is nothing more that the log could say; but it may have said that the guest gets further by itself. */
bool replayer_has_said_all(const struct replayer *r)
{
	return !r->has_next && replayer_position(r) >= r->events.position;
}

bool replayer_is_cut_off(const struct replayer *r)
{
	return replayer_has_said_all(r) && replayer_position(r) >= r->reached;
}

void replayer_end_where_cut_off(struct replayer *r)
{
	if (r->over) {
		r->over(r);
		return;
	}
	vm_end(r->vm, VM_REPLAYED, 0, "the recording is cut off here, at position %" PRIu64, replayer_position(r));
}

static void (*const bring[EVENT_KINDS])(struct replayer *r) = {
	[EVENT_EXTERNAL] = bring_input, [EVENT_CLOCK] = bring_step, [EVENT_INTERRUPT] = bring_interrupt,
	[EVENT_PAGE] = bring_page,	[EVENT_STATE] = bring_state, [EVENT_END] = bring_end,		[EVENT_DIGEST] = bring_digest,
};

/* A device will ask for it, or the guest will do it. */
bool replayer_comes_by_itself(const struct event *e)
{
	return (e->kind == EVENT_EXTERNAL && e->external.source != ACCESS_CONSOLE) || (e->kind == EVENT_END && ends_by_itself(e)) ||
	       (e->kind == EVENT_DIGEST && !e->digest.registers);
}

static void pass(struct replayer *r)
{
	if (vm_ended(r->vm))
		return;
	passed_event(&r->passed, &r->next);
	replayer_advance(r);
}

void replayer_bring_next(struct replayer *r)
{
	bring[r->next.kind](r);
	pass(r);
}

bool replayer_is_due(const struct replayer *r)
{
	return !vm_ended(r->vm) && r->has_next && r->next.position == replayer_position(r) && !replayer_comes_by_itself(&r->next);
}

void replayer_bring_due(struct replayer *r)
{
	enum event_kind before = EVENT_END;

	while (replayer_is_due(r)) {
		if (r->walks && replayer_is_async(&r->next) && before != EVENT_PAGE && !replayer_is_put(r)) {
			replayer_gather(r);
			break;
		}
		stand_for_pages(r, before);
		before = r->next.kind;
		replayer_bring_next(r);
	}
	if (!vm_ended(r->vm) && r->has_next && r->next.position < replayer_position(r)) {
		replayer_expect_next(r);
		replayer_diverge(r, DIVERGED_ARRIVAL, r->next.position, "what came there was passed by");
	}
}
