#include "ept/ept.h"

#include <Zydis/Zydis.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>

#include "ept/host_mmu.h"
#include "ept/interrupt_shadow.h"
#include "guest/abi.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/software_event.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

/*
 * Without this KVM "mends" a VMCALL/VMMCALL of the other vendor by writing into guest code. Hosts that cannot switch it
 * off are fine for every guest that keeps to abi.h.
 */
static int disable_hypercall_patching(const struct vm *vm)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_DISABLE_QUIRKS2, .args[0] = KVM_X86_QUIRK_FIX_HYPERCALL_INSN};

	if (!(kvm_capability(vm->fd, KVM_CAP_DISABLE_QUIRKS2) & KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		return 0;
	return kvm_enable_cap(vm->fd, &cap);
}

static int attach(struct vm *vm)
{
	int r = disable_hypercall_patching(vm);

	if (r < 0)
		return r;
	vm->mmu_data = calloc(1, sizeof(struct interrupt_shadow));
	if (!vm->mmu_data)
		return log_errno(ENOMEM, "ept: interrupt shadow");
	if (host_mmu_detect("").syscall_enters_ring0)
		vm->abi_cpu |= ABI_CPU_SYSCALL;
	return 0;
}

/* The wish for an interrupt window must not outlive the backend that knows what to do with it. */
static void detach(struct vm *vm)
{
	vm->vcpu.run->request_interrupt_window = 0;
	free(vm->mmu_data);
	vm->mmu_data = NULL;
}

static bool interruptible(struct vcpu *v)
{
	return v->run->ready_for_interrupt_injection && v->run->if_flag && !interrupt_shadow_lasts(v->vm->mmu_data, v);
}

static void window(struct vcpu *v, bool wanted)
{
	bool shadow = wanted && v->run->if_flag && interrupt_shadow_see_out(v->vm->mmu_data, v);

	v->run->request_interrupt_window = wanted && !shadow;
}

static int interrupt(struct vcpu *v, uint8_t vector)
{
	v->run->ready_for_interrupt_injection = 0;
	return kvm_interrupt(v->fd, vector);
}

static int exception(struct vcpu *v, const struct cpu_event *event)
{
	struct kvm_vcpu_events e;
	int r = kvm_get_events(v->fd, &e);

	if (r < 0)
		return r;
	e.exception.injected = 1;
	e.exception.nr = event->vector;
	e.exception.has_error_code = event->has_error;
	e.exception.error_code = event->error;
	return kvm_set_events(v->fd, &e);
}

static int translate(struct vcpu *v, uint64_t gva, unsigned int access, uint64_t *gpa)
{
	struct cpu_state cs;
	struct walk w;
	int r = vcpu_get_state(v, &cs);

	if (r < 0)
		return r;
	walk_guest(&v->vm->mem, &cs, gva, access, &w);
	*gpa = w.gpa;
	return w.fault ? -EFAULT : 0;
}

/* The bytes of the instruction the guest stands at; 0 where RIP leads to none. */
static size_t fetch(struct vcpu *v, uint64_t rip, uint8_t *bytes, size_t size)
{
	size_t n = 0;
	uint64_t gpa;

	while (n < size && translate(v, rip + n, MMU_EXEC, &gpa) == 0 && mem_read(&v->vm->mem, gpa, bytes + n, 1) == 0)
		n++;
	return n;
}

/*
 * A KVM that interprets ring 0 has moved RIP behind an INT3 or INT 4 whose exception it has yet to deliver. The state that
 * is true everywhere is the one before the instruction.
 */
static int step_back(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_vcpu_events told;
	int r = kvm_get_events(v->fd, &told);

	if (r == 0 && software_event_at(&v->vm->mem, cs, &told, v->run) == SOFTWARE_EVENT_QUEUED)
		cs->rip -= software_event_length(&v->vm->mem, cs, told.exception.nr);
	return r;
}

static int export_state(struct vcpu *v, struct cpu_state *cs)
{
	int r = vcpu_get_state(v, cs);

	return r == 0 && host_mmu_detect("").ring0_interpreted ? step_back(v, cs) : r;
}

/* How the code the guest stands in is to be read: real mode and 16-bit code are not told from 32-bit code. */
static int find_mode(struct vcpu *v, ZydisMachineMode *mode)
{
	struct kvm_sregs sregs;
	int r = kvm_get_sregs(v->fd, &sregs);

	*mode = r == 0 && sregs.cs.l ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32;
	return r;
}

/*
 * A host whose KVM interprets ring 0 stops at instructions its interpreter lacks (SSE, INT n, ...). Where a whole, valid
 * instruction is there the guest did nothing wrong.
 */
static bool is_host_limit(struct vcpu *v, uint64_t rip, char *text, size_t size)
{
	ZydisDisassembledInstruction instruction;
	uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	ZydisMachineMode mode;
	size_t n;

	if (!host_mmu_detect("").ring0_interpreted || find_mode(v, &mode) < 0)
		return false;
	n = fetch(v, rip, bytes, sizeof(bytes));
	if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, rip, bytes, n, &instruction)))
		return false;
	snprintf(text, size, "%s", instruction.text);
	return true;
}

static enum mmu_verdict on_internal_error(struct vcpu *v)
{
	struct kvm_regs regs;
	char text[96];

	if (v->run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || kvm_get_regs(v->fd, &regs) < 0)
		return MMU_NOT_MINE;
	if (!is_host_limit(v, regs.rip, text, sizeof(text)))
		return MMU_NOT_MINE;
	vm_end(v->vm, VM_HOST_LIMIT, 0,
	       "--mmu=ept cannot run `%s` at 0x%" PRIx64 " on this host: its KVM interprets ring 0 and lacks it%s", text,
	       (uint64_t)regs.rip, image_is_pc(v->vm->image) ? "" : "; try --mmu=shadow");
	return MMU_DONE;
}

static enum mmu_verdict handle_exit(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? on_internal_error(v) : MMU_NOT_MINE;
}

/* What is left after a triple fault is a CPU after reset. */
static int rip(struct vcpu *v, uint64_t *rip)
{
	struct kvm_regs regs;

	if (v->run->exit_reason == KVM_EXIT_SHUTDOWN || kvm_get_regs(v->fd, &regs) < 0)
		return -ENOENT;
	*rip = regs.rip;
	return 0;
}

static void stats(const struct vm *vm, struct mmu_stats *s)
{
	*s = (struct mmu_stats){0};
}

const struct mmu_ops ept_mmu = {
	.name = "ept",
	.attach = attach,
	.detach = detach,
	.export_state = export_state,
	.import_state = vcpu_set_state,
	.handle_exit = handle_exit,
	.interruptible = interruptible,
	.window = window,
	.interrupt = interrupt,
	.exception = exception,
	.translate = translate,
	.rip = rip,
	.stats = stats,
};
