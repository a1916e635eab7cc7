#include "shadow/traps.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <string.h>

#include "shadow/debug_registers.h"
#include "shadow/debug_stop.h"
#include "shadow/emulate.h"
#include "shadow/reflect.h"
#include "shadow/rflags.h"
#include "shadow/shadow_vm.h"
#include "shadow/stop.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"

#define SYSCALL_LENGTH 2

static void on_device(struct shadow_vm *s)
{
	if (!emulate_memory(s))
		vm_end(s->vm, VM_HOST_LIMIT, 0, "--mmu=shadow cannot execute the instruction at 0x%" PRIx64
		       " on a device page", s->cs.rip);
}

/*
 * One more table for the instruction at RIP. What it wants most is what it asked for last: an instruction that stores to
 * more tables than it can be lent does so piece by piece (VSCATTERDPS), and can be resumed.
 */
static void wish_for(struct shadow_vm *s, uint64_t gva)
{
	struct shadow_wish *w = &s->wish;

	s->again = true;
	for (unsigned int i = 0; i < w->count; i++) {
		if (w->gva[i] == gva)
			return;
	}
	if (w->count == TABLES_MAX_LOANS)
		memmove(w->gva, w->gva + 1, --w->count * sizeof(*w->gva));
	w->rip = s->cs.rip;
	w->gva[w->count++] = gva;
}

static void on_table_store(struct shadow_vm *s, uint64_t gva)
{
	if (emulate_memory(s))
		s->counters.count[SHADOW_TABLE_STORE]++;
	else
		wish_for(s, gva);
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

static bool is_code(struct shadow_vm *s, uint64_t gva, uint8_t byte)
{
	struct gmem_range at;
	struct gfault fault;
	uint8_t found;

	return gmem_canonical(gva, 1) &&
	       gmem_resolve(&s->gmem, gva, 1, MMU_EXEC | gmem_user(&s->cs), &at, &fault) == 0 &&
	       mem_read(s->gmem.mem, at.part[0].gpa, &found, 1) == 0 && found == byte;
}

/*
 * Where SYSCALL enters the kernel page but stays in ring 3, the next thing is a fetch fault on LSTAR's page, which is how
 * it is told apart. Who jumps there gets a page fault: he has no SYSCALL before RCX, nor RFLAGS in R11; or else has what
 * SYSCALL would have given him.
 */
static bool is_syscall_fault(struct shadow_vm *s, uint64_t gva, uint32_t error)
{
	uint64_t next = s->cs.gpr[CPU_RCX], rflags = s->cs.gpr[CPU_R11];

	return gva == monitor_syscall_gva() && (error & PF_FETCH) && s->cs.rip == gva && !(rflags & ~RFLAGS_KNOWN) &&
	       (rflags & RFLAGS_ONE) && is_code(s, next - 2, 0x0f) && is_code(s, next - 1, 0x05);
}

static void on_page_fault(struct shadow_vm *s, uint64_t gva, uint32_t error)
{
	struct walk walk;
	struct trap trap = {.vector = TRAP_PF, .has_error = true, .cr2 = gva};
	unsigned int access = access_of_error(s, error);

	if (is_syscall_fault(s, gva, error)) {
		stop_take_syscall(s);
		on_syscall(s);
		return;
	}
	switch (tables_fault(s->tables, &s->cs, shadow_view(s), gva, access, &walk)) {
	case TABLES_FILLED:
		s->counters.count[SHADOW_HIDDEN_FAULT]++;
		s->again = true;
		break;
	case TABLES_GUARDED:
		s->again = true;
		debug_stop_guarded(s, gva, access, walk.gpa);
		break;
	case TABLES_GUEST_FAULT:
		if ((access & MMU_EXEC) && debug_stop_unfetched(s, gva))
			break;
		trap.error = walk.error;
		reflect(s, &trap, DELIVER_FAULT, 0);
		break;
	case TABLES_STORE:
		on_table_store(s, gva);
		break;
	case TABLES_DEVICE:
		if (error & PF_FETCH)
			vm_kill(s->vm, "executes at gpa 0x%" PRIx64 ", which is not RAM", walk.gpa);
		else
			on_device(s);
		break;
	}
}

/* DR6.B0-B3 say which breakpoints were met, whether they are on or not (APM vol. 2, 13.1.1.3). */
static bool breakpoint_met(const struct cpu_state *cs)
{
	for (unsigned int n = 0; n < 4; n++) {
		if ((cs->dr6 >> n & 1) && (cs->dr7 >> 2 * n & 3))
			return true;
	}
	return false;
}

/*
 * A single step of ours has done its work in stop_take_event(), and is no business of the guest's, nor is its DR6.BS; but
 * the instruction may have met a breakpoint of the guest's as well. Any other trap the guest asked for.
 */
static void on_debug(struct shadow_vm *s)
{
	struct trap trap = {.vector = TRAP_DB};
	uint64_t dr6 = s->cs.dr6;
	bool ours = s->stepped;

	s->stepped = false;
	if (debug_registers_read_dr6(&s->vm->vcpu, &s->cs.dr6) < 0)
		vm_fail(s->vm, "debug registers of the guest");
	if (ours && !breakpoint_met(&s->cs)) {
		s->cs.dr6 = dr6;
		return;
	}
	if (ours)
		s->cs.dr6 = (s->cs.dr6 & ~DR6_BS) | (dr6 & DR6_BS);
	reflect(s, &trap, DELIVER_FAULT, 0);
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
	if (vector == TRAP_BP && debug_stop_int3(s))
		return;
	reflect(s, &trap, DELIVER_SOFTWARE, length);
}

void trap_handle(struct shadow_vm *s, int vector, uint32_t error)
{
	struct trap trap = {.vector = (uint8_t)vector, .has_error = trap_pushes_error(vector), .error = error};
	uint64_t position = s->vm->vcpu.port.position;

	s->again = false;
	if (vector == MONITOR_SYSCALL)
		on_syscall(s);
	else if (vector == TRAP_PF)
		on_page_fault(s, s->vm->vcpu.run->s.regs.sregs.cr2, error);
	else if (vector == TRAP_DB)
		on_debug(s);
	else if (is_software(vector))
		on_software(s, vector);
	else if (may_be_privileged(vector))
		emulate_privileged(s, &trap);
	else
		reflect(s, &trap, DELIVER_FAULT, 0);
	debug_stop_executed(s, s->vm->vcpu.port.position != position);
}
