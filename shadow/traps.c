#include "shadow/traps.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>

#include "guest/abi.h"
#include "shadow/deliver.h"
#include "shadow/insn_memory.h"
#include "shadow/privileged.h"
#include "shadow/rflags.h"
#include "shadow/shadow_cpu.h"
#include "shadow/shadow_vm.h"
#include "vmm/ensure.h"
#include "vmm/exit.h"
#include "vmm/kvm.h"
#include "vmm/mmu.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

#define REP_ITERATIONS 64u /* of one string instruction before the guest can be interrupted again */
#define SYSCALL_LENGTH 2
#define DR6_BS (1ull << 14)

static struct shadow_vm *shadow_of_gmem(struct gmem *g)
{
	return (struct shadow_vm *)((char *)g - offsetof(struct shadow_vm, gmem));
}

bool trap_device_access(struct gmem *g, struct access *a)
{
	struct shadow_vm *s = shadow_of_gmem(g);

	s->counters.count[SHADOW_DEVICE]++;
	return exit_complete_mmio(&s->vm->vcpu, a);
}

/* cs moves on without the real CPU: where that stands between two instructions, it may not just run on. */
static void leave_guest(struct shadow_vm *s)
{
	if (s->where == SHADOW_IN_GUEST)
		s->where = SHADOW_OUTSIDE;
}

static void reflect(struct shadow_vm *s, const struct trap *trap, enum deliver_source source, uint8_t length)
{
	leave_guest(s);
	s->counters.count[source == DELIVER_FAULT ? SHADOW_REFLECTED : SHADOW_SYSTEM_CALL]++;
	if (deliver(&s->gmem, trap, source, length) == DELIVER_SHUTDOWN)
		vm_kill(s->vm, "triple fault: an exception could not be delivered, nor the double fault that followed");
}

void trap_interrupt(struct shadow_vm *s, uint8_t vector)
{
	struct trap trap = {.vector = vector};

	leave_guest(s);
	s->counters.count[SHADOW_INTERRUPT]++;
	if (deliver(&s->gmem, &trap, DELIVER_INTERRUPT, 0) == DELIVER_SHUTDOWN)
		vm_kill(s->vm, "triple fault while an interrupt was delivered");
}

void trap_pending(struct shadow_vm *s)
{
	struct cpu_state *cs = &s->cs;

	if (cs->exception.valid) {
		struct trap trap = {.vector = cs->exception.vector, .has_error = cs->exception.has_error,
				    .error = cs->exception.error, .cr2 = cs->cr2};

		cs->exception.valid = false;
		reflect(s, &trap, DELIVER_FAULT, 0);
	}
	if (cs->interrupt.valid && !vm_ended(s->vm)) {
		cs->interrupt.valid = false;
		trap_interrupt(s, cs->interrupt.vector);
	}
}

/* A REP under TF is trapped after each of its iterations. */
static uint32_t iterations(bool stepped)
{
	return stepped ? 1 : REP_ITERATIONS;
}

/* An instruction that was emulated under the guest's own TF ends in a single-step trap (APM vol. 2, 13.1.4). */
static void end_step(struct shadow_vm *s, bool stepped)
{
	const struct trap db = {.vector = TRAP_DB};

	if (!stepped || vm_ended(s->vm))
		return;
	s->cs.dr6 |= DR6_BS;
	s->debug_stale = true;
	reflect(s, &db, DELIVER_FAULT, 0);
}

/* Standard form of the XSAVE area (SDM vol. 1, 13.4): XMM registers in the legacy region, XSTATE_BV in the header. */
#define XSAVE_XMM 160
#define XSAVE_BV 512
#define XSTATE_SSE 2

/* SSE moves need the XMM registers, which are fetched for them alone. */
static enum insn_result execute_with_xmm(struct shadow_vm *s, const struct insn *in, struct trap *trap)
{
	uint8_t *xsave = s->cs.xsave;
	enum insn_result r;

	if (vcpu_get_parts(&s->vm->vcpu, &s->cs, VCPU_XSAVE) < 0)
		return INSN_UNKNOWN;
	r = insn_execute_memory(&s->gmem, in, (uint8_t(*)[16])(xsave + XSAVE_XMM), 1, trap);
	xsave[XSAVE_BV] |= XSTATE_SSE;
	if (r == INSN_DONE && vcpu_set_parts(&s->vm->vcpu, &s->cs, VCPU_XSAVE) < 0)
		vm_fail(s->vm, "XMM registers of the guest");
	return r;
}

static enum insn_result execute_memory(struct shadow_vm *s, bool stepped, struct trap *trap)
{
	struct insn in;
	enum insn_result r = insn_fetch(&s->gmem, &in, trap);

	if (r != INSN_DONE)
		return r;
	r = insn_execute_memory(&s->gmem, &in, NULL, iterations(stepped), trap);
	return r == INSN_UNKNOWN ? execute_with_xmm(s, &in, trap) : r;
}

/* Instructions with a memory operand on a table page or a device. */
static void emulate_memory(struct shadow_vm *s)
{
	bool stepped = s->cs.rflags & RFLAGS_TF;
	struct trap trap;
	enum insn_result r = execute_memory(s, stepped, &trap);

	if (r == INSN_DONE)
		end_step(s, stepped);
	else if (r == INSN_TRAP)
		reflect(s, &trap, DELIVER_FAULT, 0);
	else if (r == INSN_UNKNOWN)
		vm_end(s->vm, VM_HOST_LIMIT, 0, "--mmu=shadow cannot execute the instruction at 0x%" PRIx64
		       " on a device or page-table page", s->cs.rip);
}

/* `syscall` of ring 3: to the guest's LSTAR (APM vol. 3, SYSCALL). RCX and R11 have been set by the CPU. */
static void on_syscall(struct shadow_vm *s)
{
	struct cpu_state *cs = &s->cs;
	struct trap ud = trap_ud();
	uint16_t selector = cs->msr[CPU_MSR_STAR] >> 32 & 0xfffc;

	if (!(cs->efer & EFER_SCE)) {
		cs->rip -= SYSCALL_LENGTH;
		reflect(s, &ud, DELIVER_FAULT, 0);
		return;
	}
	s->counters.count[SHADOW_SYSTEM_CALL]++;
	cs->gpr[CPU_RCX] = cs->rip;
	cs->gpr[CPU_R11] = cs->rflags & ~RFLAGS_RF;
	cs->rip = cs->msr[CPU_MSR_LSTAR];
	cs->rflags &= ~(cs->msr[CPU_MSR_SFMASK] | RFLAGS_RF);
	cs->segment[CPU_CS] = (struct cpu_segment){.selector = selector, .attributes = 0xa9b, .limit = UINT32_MAX};
	cs->segment[CPU_SS] = (struct cpu_segment){.selector = (uint16_t)(selector + 8), .attributes = 0xc93,
						   .limit = UINT32_MAX};
}

static unsigned int access_of_error(const struct shadow_vm *s, uint32_t error)
{
	return (error & PF_WRITE ? MMU_WRITE : 0) | (error & PF_FETCH ? MMU_EXEC : 0) | gmem_user(&s->cs);
}

/*
 * Where SYSCALL enters the kernel page but stays in ring 3, the next thing is a fetch fault on LSTAR's page, which is how
 * it is told apart: nothing else in ring 3 fetches from there but a jump, whose author gains nothing by it.
 */
static bool is_syscall_fault(const struct shadow_vm *s, uint64_t gva, uint32_t error)
{
	return gva == monitor_syscall_gva() && (error & PF_FETCH) && s->cs.rip == gva;
}

static void on_page_fault(struct shadow_vm *s, uint64_t gva, uint32_t error)
{
	struct walk walk;
	struct trap trap = {.vector = TRAP_PF, .has_error = true, .cr2 = gva};

	if (is_syscall_fault(s, gva, error)) {
		shadow_take_syscall(s);
		on_syscall(s);
		return;
	}
	switch (tables_fault(s->tables, &s->cs, shadow_view(s), gva, access_of_error(s, error), &walk)) {
	case TABLES_FILLED:
		s->counters.count[SHADOW_HIDDEN_FAULT]++;
		break;
	case TABLES_GUEST_FAULT:
		trap.error = walk.error;
		reflect(s, &trap, DELIVER_FAULT, 0);
		break;
	case TABLES_STORE:
		s->counters.count[SHADOW_TABLE_STORE]++;
		emulate_memory(s);
		break;
	case TABLES_DEVICE:
		if (error & PF_FETCH)
			vm_kill(s->vm, "executes at gpa 0x%" PRIx64 ", which is not RAM", walk.gpa);
		else
			emulate_memory(s);
		break;
	}
}

static bool on_port(struct privileged *p, struct access *a)
{
	struct shadow_vm *s = shadow_of_gmem(p->g);

	access_complete(&s->vm->vcpu.port, a);
	return !vm_ended(s->vm);
}

static bool read_tsc(struct privileged *p, uint64_t *value)
{
	struct shadow_vm *s = shadow_of_gmem(p->g);
	int r = vcpu_read_msr(&s->vm->vcpu, CPU_MSR_TSC, value);

	if (r < 0)
		vm_fail(s->vm, "reading the time stamp counter: %s", strerror(-r));
	return r == 0;
}

static bool write_tsc(struct privileged *p, uint64_t value)
{
	struct shadow_vm *s = shadow_of_gmem(p->g);
	int r = vcpu_write_msr(&s->vm->vcpu, CPU_MSR_TSC, value);

	if (r < 0)
		vm_fail(s->vm, "writing the time stamp counter: %s", strerror(-r));
	return r == 0;
}

static void halt(struct shadow_vm *s)
{
	struct access a = {.kind = ACCESS_HLT};

	access_complete(&s->vm->vcpu.port, &a);
	s->vm->vcpu.halted = true;
}

static uint64_t cr4_allowed(const struct shadow_vm *s)
{
	uint64_t allowed = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (s->vm->abi_cpu & ABI_CPU_UMIP)
		allowed |= CR4_UMIP;
	if (s->vm->abi_cpu & ABI_CPU_SMEP)
		allowed |= CR4_SMEP;
	return allowed;
}

/* What the shadow and the real CPU have to follow. */
static void apply_effects(struct shadow_vm *s, const struct privileged *p)
{
	if (p->effects & (PRIVILEGED_PAGING | PRIVILEGED_SEGMENTS))
		s->control_stale = true;
	if (p->effects & PRIVILEGED_CR3)
		tables_load_cr3(s->tables, &s->cs);
	if (p->effects & PRIVILEGED_INVLPG)
		tables_invlpg(s->tables, &s->cs, p->invlpg_gva);
	if (p->effects & PRIVILEGED_DEBUG)
		s->debug_stale = true;
	if (p->effects & PRIVILEGED_HALT)
		halt(s);
}

/* Software interrupts whose gate the CPU refused, or whose vector this host does not deliver from ring 3. */
static void software_interrupt(struct shadow_vm *s, const struct insn *in)
{
	struct trap trap = {.vector = (uint8_t)in->op[0].imm.value.u};

	reflect(s, &trap, DELIVER_SOFTWARE, in->info.length);
}

/* A HLT of ours becomes what it stands for. */
static enum insn_result see_through_patch(struct shadow_vm *s, struct insn *in)
{
	struct gmem_range at;
	struct gfault fault;
	uint8_t byte;

	if (gmem_resolve(&s->gmem, s->cs.rip + in->info.length - 1, 1, MMU_EXEC | gmem_user(&s->cs), &at, &fault) < 0)
		return INSN_DONE;
	if (patches_find(&s->patches, s->gmem.mem, at.part[0].gpa, &byte))
		ensure(insn_exchange_last(in, byte));
	else if (patches_copied(&s->patches, s->gmem.mem, at.part[0].gpa)) {
		vm_end(s->vm, VM_HOST_LIMIT, 0, "--mmu=shadow: runs a copy, at 0x%" PRIx64
		       ", of kernel code with PUSHF or POPF in it", s->cs.rip);
		return INSN_ENDED;
	}
	return INSN_DONE;
}

/*
 * The guest kernel does what only ring 0 may do, and ring 3 faults. `fault` is what the CPU said, and what the guest gets if
 * the instruction is none of those.
 */
static void on_protection(struct shadow_vm *s, const struct trap *fault)
{
	bool stepped = s->cs.rflags & RFLAGS_TF;
	struct privileged p = {.g = &s->gmem, .cr4_allowed = cr4_allowed(s), .iterations = iterations(stepped),
			       .port = on_port, .read_tsc = read_tsc, .write_tsc = write_tsc};
	struct trap trap = *fault;
	struct insn in;
	enum insn_result r = insn_fetch(&s->gmem, &in, &trap);

	if (r == INSN_DONE && in.info.mnemonic == ZYDIS_MNEMONIC_HLT && s->patches.count)
		r = see_through_patch(s, &in);
	if (r == INSN_DONE && in.info.mnemonic == ZYDIS_MNEMONIC_INT) {
		software_interrupt(s, &in);
		return;
	}
	if (r == INSN_DONE)
		r = privileged_execute(&p, &in, &trap);
	if (r == INSN_DONE) {
		counters_privileged(&s->counters, in.info.mnemonic);
		s->shadow_rip = s->cs.rip;
		apply_effects(s, &p);
		end_step(s, stepped);
	} else if (r == INSN_TRAP) {
		reflect(s, &trap, DELIVER_FAULT, 0);
	} else if (r == INSN_UNKNOWN) {
		reflect(s, fault, DELIVER_FAULT, 0);
	}
}

/* A single step of ours has done its work in shadow_take_event(); any other the guest asked for. */
static void on_debug(struct shadow_vm *s)
{
	struct trap trap = {.vector = TRAP_DB};

	if (s->stepped) {
		s->stepped = false;
		return;
	}
	if (vcpu_get_parts(&s->vm->vcpu, &s->cs, VCPU_DEBUGREGS) < 0)
		vm_fail(s->vm, "debug registers of the guest");
	reflect(s, &trap, DELIVER_FAULT, 0);
}

static bool pushes_error(int vector)
{
	return vector == TRAP_DF || (vector >= TRAP_TS && vector <= TRAP_PF) || vector == TRAP_AC;
}

static bool may_be_privileged(int vector)
{
	return vector == TRAP_UD || (vector >= TRAP_TS && vector <= TRAP_GP);
}

/* INT3 and INT n that the CPU let into their stub: RIP is past them. */
static bool is_software(int vector)
{
	return vector == TRAP_BP || vector == TRAP_OF || vector >= 32;
}

static void on_software(struct shadow_vm *s, int vector)
{
	struct trap trap = {.vector = (uint8_t)vector};
	uint8_t length = vector == TRAP_BP ? 1 : 2;

	s->cs.rip -= length;
	reflect(s, &trap, DELIVER_SOFTWARE, length);
}

void trap_handle(struct shadow_vm *s, int vector, uint32_t error)
{
	struct trap trap = {.vector = (uint8_t)vector, .has_error = pushes_error(vector), .error = error};

	if (vector == MONITOR_SYSCALL)
		on_syscall(s);
	else if (vector == TRAP_PF)
		on_page_fault(s, s->vm->vcpu.run->s.regs.sregs.cr2, error);
	else if (vector == TRAP_DB)
		on_debug(s);
	else if (is_software(vector))
		on_software(s, vector);
	else if (may_be_privileged(vector))
		on_protection(s, &trap);
	else
		reflect(s, &trap, DELIVER_FAULT, 0);
}
