#include "replay/vm_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "snapshot/reason.h"
#include "vmm/cpu_state.h"
#include "vmm/log.h"
#include "vmm/state.h"
#include "vmm/vm.h"

static void visit_devices(struct vm *vm, struct state *s)
{
	clock_visit(&vm->clock, s);
	bus_visit(&vm->bus, s);
}

/* A null segment has no limit or type worth the name. */
static void forget_absent(struct cpu_segment *s)
{
	if (!(s->attributes & CPU_SEGMENT_PRESENT))
		s->attributes = s->limit = 0;
}

/*
 * What of the registers is the guest's own. The TSC goes on with the host's time, and nobody who is replayed may look at it; what MXCSR
 * may hold is the host's affair.
 */
static void load_cpu(const struct vm_state *saved, struct cpu_state *cs)
{
	struct state s;

	memset(cs, 0, sizeof(*cs));
	state_load_init(&s, saved->bytes, saved->cpu);
	cpu_state_visit(cs, &s);
	cs->msr[CPU_MSR_TSC] = 0;
	for (int i = 0; i < CPU_SEGMENT_COUNT; i++)
		forget_absent(&cs->segment[i]);
	memset(cs->xsave + XSAVE_MXCSR_MASK, 0, sizeof(uint32_t));
}

int vm_state_save(struct vm_state *saved, struct vm *vm)
{
	struct cpu_state cs;
	struct state s;
	int err = vm_settle(vm, &cs);

	if (err < 0)
		return err;
	state_save_init(&s);
	cpu_state_visit(&cs, &s);
	saved->cpu = s.size;
	visit_devices(vm, &s);
	if (state_error(&s)) {
		state_free(&s);
		return log_errno(ENOMEM, "state of the guest");
	}
	saved->bytes = s.bytes;
	saved->size = s.size;
	return 0;
}

void vm_state_free(struct vm_state *s)
{
	struct state owned = {.direction = STATE_SAVE, .bytes = s->bytes};

	state_free(&owned);
	*s = (struct vm_state){0};
}

/* For people. */
static const char *name_difference(const struct cpu_state *a, const struct cpu_state *b)
{
	if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)) != 0)
		return "general registers are";
	if (a->rflags != b->rflags)
		return "flags are";
	if (memcmp(a->segment, b->segment, sizeof(a->segment)) != 0)
		return "segments are";
	return memcmp(a->xsave, b->xsave, sizeof(a->xsave)) ? "x87 or SSE registers are" : "control or system registers are";
}

static int compare_cpu(const struct vm_state *a, const struct vm_state *b, struct reason *why)
{
	struct cpu_state was, is;

	load_cpu(a, &was);
	load_cpu(b, &is);
	if (!memcmp(&was, &is, sizeof(was)))
		return 0;
	if (was.rip != is.rip)
		reason_give(why, EBADMSG, "the guest is at 0x%" PRIx64 ", and was at 0x%" PRIx64, is.rip, was.rip);
	else
		reason_give(why, EBADMSG, "%s not as they were", name_difference(&was, &is));
	return 1;
}

static int compare_devices(const struct vm_state *a, const struct vm_state *b, struct reason *why)
{
	if (a->size == b->size && !memcmp(a->bytes + a->cpu, b->bytes + b->cpu, a->size - a->cpu))
		return 0;
	reason_give(why, EBADMSG, "devices are not as they were");
	return 1;
}

int vm_state_compare(const struct vm_state *was, struct vm *vm, struct reason *why)
{
	struct vm_state is = {0};
	int err = vm_state_save(&is, vm);

	if (err < 0)
		return err;
	err = compare_cpu(was, &is, why);
	if (err == 0)
		err = compare_devices(was, &is, why);
	vm_state_free(&is);
	return err;
}

/*
 * What is half done may be any number of accesses: no device is there while they are completed. The vCPU's state is not asked for, which
 * one that has ended may not have; what the backend has put into RAM it takes out when it is detached, by vm_go_on_from().
 */
int vm_state_leave(struct vm *vm)
{
	struct access_tap *tap = vm->vcpu.port.tap;
	struct bus nobody;
	int err;

	console_flush(&vm->console);
	bus_init(&nobody);
	vm->vcpu.port.tap = NULL;
	vm->vcpu.port.bus = &nobody;
	err = vcpu_drain(&vm->vcpu);
	vm->vcpu.port.tap = tap;
	vm->vcpu.port.bus = &vm->bus;
	virtio_devices_settle(&vm->virtio);
	if (!mem_is_lost(&vm->mem))
		vm->end = (struct vm_end){.kind = VM_RUNNING};
	return err;
}

int vm_state_load(const struct vm_state *saved, struct vm *vm)
{
	struct cpu_state cs;
	struct state s;
	int err;

	state_load_init(&s, saved->bytes, saved->size);
	cpu_state_visit(&cs, &s);
	visit_devices(vm, &s);
	if (state_error(&s))
		return log_bad(EINVAL, "state of the guest: %s", state_error(&s));
	err = vm_go_on_from(vm, &cs);
	vcpu_forget_timer(&vm->vcpu);
	return err;
}
