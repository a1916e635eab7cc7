#include "shadow/emulate.h"

#include <inttypes.h>
#include <string.h>

#include "guest/abi.h"
#include "shadow/debug_registers.h"
#include "shadow/insn_memory.h"
#include "shadow/privileged.h"
#include "shadow/reflect.h"
#include "shadow/rflags.h"
#include "shadow/shadow_vm.h"
#include "vmm/ensure.h"
#include "vmm/exit.h"
#include "vmm/mmu.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

#define REP_ITERATIONS 64u /* of one string instruction before the guest can be interrupted again */

bool emulate_device_access(struct gmem *g, struct access *a)
{
	struct shadow_vm *s = shadow_of_gmem(g);

	s->counters.count[SHADOW_DEVICE]++;
	return exit_complete_mmio(&s->vm->vcpu, a);
}

/* A REP under TF is trapped after each of its iterations; and a debugger counts them. */
static uint32_t iterations(const struct shadow_vm *s, bool stepped)
{
	return stepped || s->vm->debug ? 1 : REP_ITERATIONS;
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

/* SSE moves need the XMM registers, which are fetched for them alone. */
static enum insn_result execute_with_xmm(struct shadow_vm *s, const struct insn *in, struct trap *trap)
{
	enum insn_result r;

	if (vcpu_get_parts(&s->vm->vcpu, &s->cs, VCPU_XSAVE) < 0)
		return INSN_UNKNOWN;
	r = insn_execute_memory(&s->gmem, in, (uint8_t(*)[16])(s->cs.xsave + XSAVE_XMM), 1, trap);
	if (r == INSN_DONE && vcpu_set_parts(&s->vm->vcpu, &s->cs, VCPU_XSAVE) < 0)
		vm_fail(s->vm, "XMM registers of the guest");
	return r;
}

/* Flags on the stack are the guest's: the real ones may have a TF of ours, and never have its IOPL. */
static enum insn_result push_flags(struct shadow_vm *s, const struct insn *in, struct trap *trap)
{
	struct privileged p = {.g = &s->gmem};

	return privileged_execute(&p, in, trap);
}

static enum insn_result execute_memory(struct shadow_vm *s, bool stepped, struct trap *trap)
{
	struct insn in;
	enum insn_result r = insn_fetch(&s->gmem, &in, trap);

	if (r != INSN_DONE)
		return r;
	if (in.info.mnemonic == ZYDIS_MNEMONIC_PUSHF || in.info.mnemonic == ZYDIS_MNEMONIC_PUSHFQ)
		return push_flags(s, &in, trap);
	r = insn_execute_memory(&s->gmem, &in, NULL, iterations(s, stepped), trap);
	return r == INSN_UNKNOWN ? execute_with_xmm(s, &in, trap) : r;
}

bool emulate_memory(struct shadow_vm *s)
{
	bool stepped = s->cs.rflags & RFLAGS_TF;
	struct trap trap;
	enum insn_result r = execute_memory(s, stepped, &trap);

	if (r == INSN_DONE)
		end_step(s, stepped);
	else if (r == INSN_TRAP)
		reflect(s, &trap, DELIVER_FAULT, 0);
	return r != INSN_UNKNOWN;
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

void emulate_privileged(struct shadow_vm *s, const struct trap *fault)
{
	bool stepped = s->cs.rflags & RFLAGS_TF;
	struct privileged p = {.g = &s->gmem, .cr4_allowed = cr4_allowed(s), .iterations = iterations(s, stepped),
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
