#include "shadow/shadow_cpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "guest/abi.h"
#include "shadow/rflags.h"
#include "shadow/shadow_vm.h"
#include "vmm/ensure.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/software_event.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

/* Of the real RFLAGS these are ours; the guest's own are in cs. */
#define RFLAGS_VIRTUAL (RFLAGS_IF | RFLAGS_IOPL)

/* What SYSCALL clears on its way into the stub: all that could disturb it. */
#define SFMASK_ALL (RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC)

#define CR0_FIXED (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)
#define CR4_SHOWN (CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE | CR4_TSD)

static bool pushes_error(int vector)
{
	const uint32_t with_error = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21;

	return vector < 32 && (with_error >> vector & 1);
}

static void take_gprs(struct shadow_vm *s)
{
	uint64_t rsp = s->cs.gpr[CPU_RSP];

	vcpu_gprs_from_kvm(s->cs.gpr, &s->vm->vcpu.run->s.regs.regs);
	s->cs.gpr[CPU_RSP] = rsp;
}

/* A TF of ours ends here, by whichever event comes first, and with it the interrupt shadow it was to see out. */
static void take_rflags(struct shadow_vm *s, uint64_t real)
{
	if (s->tf_added)
		real &= ~RFLAGS_TF;
	s->cs.rflags = (real & ~RFLAGS_VIRTUAL) | (s->cs.rflags & RFLAGS_VIRTUAL);
}

/* The interrupt shadow lasts one instruction: it is over when RIP has moved on. */
static void end_interrupt_shadow(struct shadow_vm *s)
{
	if (s->cs.rip != s->shadow_rip)
		s->cs.interrupt_shadow = false;
}

void shadow_take_syscall(struct shadow_vm *s)
{
	s->cs.rip = s->cs.gpr[CPU_RCX];
	take_rflags(s, s->cs.gpr[CPU_R11]);
}

static void take_frame(struct shadow_vm *s, const struct monitor_frame *frame)
{
	take_gprs(s);
	s->cs.gpr[CPU_RSP] = frame->rsp;
	s->cs.rip = frame->rip;
	take_rflags(s, frame->rflags);
}

int shadow_take_event(struct shadow_vm *s, int *vector, uint32_t *error)
{
	struct monitor_frame frame;

	*vector = monitor_vector(s->vm->vcpu.run->s.regs.regs.rip);
	if (*vector < 0)
		return log_bad(EIO, "shadow: the monitor stopped at 0x%llx, where it has no stub",
			       (unsigned long long)s->vm->vcpu.run->s.regs.regs.rip);
	*error = 0;
	if (*vector == MONITOR_SYSCALL) {
		take_gprs(s);
		s->cs.gpr[CPU_RSP] = s->vm->vcpu.run->s.regs.regs.rsp;
		shadow_take_syscall(s);
	} else {
		frame = monitor_frame(&s->monitor, pushes_error(*vector), error);
		take_frame(s, &frame);
	}
	s->stepped = s->tf_added && *vector == TRAP_DB;
	s->counters.count[SHADOW_STEP] += s->stepped;
	s->tf_added = false;
	end_interrupt_shadow(s);
	tables_edits_done(s->tables);
	s->where = SHADOW_IN_MONITOR;
	return 0;
}

static void take_ring3(struct shadow_vm *s)
{
	const struct kvm_regs *regs = &s->vm->vcpu.run->s.regs.regs;

	take_gprs(s);
	s->cs.gpr[CPU_RSP] = regs->rsp;
	s->cs.rip = regs->rip;
	take_rflags(s, regs->rflags);
	end_interrupt_shadow(s);
	tables_edits_done(s->tables);
	s->where = SHADOW_IN_GUEST;
}

/* A TF of ours that a kick found still set is in the real RFLAGS, where it may not stay: the guest goes on by the way out. */
static void drop_step(struct shadow_vm *s)
{
	s->reload |= s->tf_added;
	s->tf_added = false;
}

static bool is_stub_exit(const struct shadow_vm *s)
{
	const struct kvm_run *run = s->vm->vcpu.run;

	return run->exit_reason == KVM_EXIT_IO && run->io.port == MONITOR_PORT;
}

static bool in_ring3(const struct shadow_vm *s)
{
	return s->vm->vcpu.run->s.regs.sregs.ss.dpl == 3;
}

/*
 * An event was under way when the kick came: KVM has it queued, or the CPU stands in its stub, whose `out` is the very next
 * thing. To go anywhere else now would deliver the event there, to code that is not the guest's.
 */
static int finish_stub(struct shadow_vm *s)
{
	struct vcpu *v = &s->vm->vcpu;
	int r;

	do {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		r = kvm_run(v->fd);
	} while (r == -EINTR);
	if (r < 0)
		return r;
	ensure(is_stub_exit(s));
	return 1;
}

/* RUN_MOMENT_US doubles from try to try: entering a guest may take longer than the first ones. */
#define RUN_MOMENT_US 20u
#define RUN_MOMENT_MAX_US 5000u

/*
 * Whether an event may be under way in KVM: one it tells of, or a software event it keeps to itself. cs must stand where the
 * real CPU stands, in ring 3.
 */
static int event_under_way(struct shadow_vm *s, enum software_event *software)
{
	struct kvm_vcpu_events events;
	int r = kvm_get_events(s->vm->vcpu.fd, &events);

	if (r < 0)
		return r;
	*software = software_event_at(&s->vm->mem, &s->cs, &events);
	return events.exception.injected || events.exception.pending || *software == SOFTWARE_EVENT_NEXT;
}

/* Stands between two instructions of ring 3, as far as the registers tell. As shadow_catch_up(). */
static int settle_in_ring3(struct shadow_vm *s)
{
	enum software_event software;
	int r;

	for (unsigned int us = RUN_MOMENT_US;; us = us < RUN_MOMENT_MAX_US ? 2 * us : us) {
		take_ring3(s);
		r = event_under_way(s, &software);
		if (r < 0)
			return r;
		if (r > 0)
			return finish_stub(s);
		if (software == SOFTWARE_EVENT_NONE) {
			drop_step(s);
			return 0;
		}
		r = vcpu_enter_briefly(&s->vm->vcpu, us);
		if (r == 0)
			return is_stub_exit(s) ? 1 : -EIO;
		if (r != -EINTR)
			return r;
		if (!in_ring3(s))
			return finish_stub(s);
	}
}

int shadow_catch_up(struct shadow_vm *s)
{
	const struct kvm_run *run = s->vm->vcpu.run;

	if (s->where != SHADOW_RUNNING)
		return 0;
	s->counters.count[SHADOW_KICK]++;
	if (monitor_vector(run->s.regs.regs.rip) >= 0)
		return finish_stub(s);
	if (in_ring3(s))
		return settle_in_ring3(s);
	/* On the way out: cs still says where to, and the way can be gone again from its start. */
	s->where = SHADOW_IN_MONITOR;
	s->reload = true;
	return 0;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type, uint8_t dpl)
{
	bool code = type & 8;

	return (struct kvm_segment){.selector = selector | dpl, .type = type, .s = 1, .dpl = dpl, .present = 1, .l = code,
				    .db = !code, .g = 1, .limit = UINT32_MAX};
}

/* Real data segments are flat, DPL 3, so that IRETQ keeps them; only the bases of FS and GS matter in 64-bit mode. */
static struct kvm_segment data_segment(uint64_t base)
{
	struct kvm_segment seg = flat(MONITOR_USER_SS, 3, 3);

	seg.base = base;
	return seg;
}

static void write_sregs(struct shadow_vm *s)
{
	struct vcpu *v = &s->vm->vcpu;
	const struct cpu_state *cs = &s->cs;
	struct kvm_sregs *sregs = &v->run->s.regs.sregs;

	*sregs = (struct kvm_sregs){
		.cs = flat(MONITOR_CS, 11, 0),
		.ss = flat(MONITOR_SS, 3, 0),
		.ds = data_segment(0),
		.es = data_segment(0),
		.fs = data_segment(cs->segment[CPU_FS].base),
		.gs = data_segment(cs->segment[CPU_GS].base),
		.tr = {.selector = MONITOR_TSS, .type = 11, .present = 1, .base = monitor_tss_gva(), .limit = 103},
		.ldt = {.unusable = 1},
		.gdt = {.base = monitor_gdt_gva(), .limit = MONITOR_GDT_BYTES - 1},
		.idt = {.base = monitor_idt_gva(), .limit = MONITOR_IDT_BYTES - 1},
		.cr0 = CR0_FIXED | (cs->cr0 & (CR0_TS | CR0_EM)),
		.cr3 = s->root,
		.cr4 = CR4_PAE | (cs->cr4 & CR4_SHOWN) | (s->vm->abi_cpu & ABI_CPU_UMIP ? CR4_UMIP : 0),
		.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
		.apic_base = 0xfee00000,
	};
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	s->control_stale = false;
}

/* Where the guest goes on, as ring 3 must have it. */
static struct monitor_frame frame_of(const struct shadow_vm *s)
{
	uint64_t rflags = (s->cs.rflags & ~RFLAGS_IOPL) | (s->tf_added ? RFLAGS_TF : 0);

	bool long_code = s->cs.segment[CPU_CS].attributes & CPU_SEGMENT_LONG;

	return (struct monitor_frame){.rip = s->cs.rip, .cs = (long_code ? MONITOR_USER_CS : MONITOR_USER_CS32) | 3, .rflags = rflags,
				      .rsp = s->cs.gpr[CPU_RSP], .ss = MONITOR_USER_SS | 3};
}

static void write_way_out(struct shadow_vm *s)
{
	struct kvm_run *run = s->vm->vcpu.run;
	struct monitor_frame frame;
	struct kvm_regs *regs = &run->s.regs.regs;
	const struct tables_edit *edits;
	size_t count;

	s->tf_added = s->step && !(s->cs.rflags & RFLAGS_TF);
	s->step = false;
	frame = frame_of(s);
	edits = tables_edits(s->tables, &count);
	vcpu_gprs_to_kvm(regs, s->cs.gpr);
	monitor_way_out(&s->monitor, edits, count, s->reload || count, s->root, s->cs.gpr[CPU_RAX], &frame);
	regs->rip = monitor_way_out_gva();
	regs->rsp = monitor_frame_gva();
	regs->rflags = RFLAGS_ONE;
	run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
	s->reload = false;
}

/* The root for cs, made in as many tries as the pool needs; each recycling drops everything. */
static int find_root(struct shadow_vm *s)
{
	uint64_t root;
	int r;

	for (;;) {
		if (tables_must_recycle(s->tables)) {
			r = monitor_forget(&s->monitor);
			if (r < 0)
				return r;
			tables_recycle(s->tables);
			/* The real CR3 leads to a page that is zero now: not even the way out could run on it. */
			s->control_stale = true;
			s->reload = true;
		}
		root = tables_root(s->tables, &s->cs, shadow_view(s));
		if (!tables_must_recycle(s->tables))
			break;
	}
	s->reload |= root != s->root;
	s->root = root;
	return 0;
}

static int write_debugregs(struct shadow_vm *s)
{
	struct kvm_debugregs dr = {.dr6 = s->cs.dr6, .dr7 = s->cs.dr7};

	memcpy(dr.db, s->cs.dr, sizeof(dr.db));
	s->debug_stale = false;
	return kvm_set_debugregs(s->vm->vcpu.fd, &dr);
}

/* A kick that changed nothing: ring 3 simply runs on. */
static bool can_run_on(const struct shadow_vm *s)
{
	size_t edits;

	tables_edits(s->tables, &edits);
	return s->where == SHADOW_IN_GUEST && !edits && !s->reload && !s->control_stale && !s->debug_stale && !s->step;
}

int shadow_prepare(struct shadow_vm *s)
{
	int r = find_root(s);

	if (r < 0)
		return r;
	if (!can_run_on(s)) {
		if (s->debug_stale)
			r = write_debugregs(s);
		if (r < 0)
			return r;
		if (s->where != SHADOW_IN_MONITOR || s->control_stale)
			write_sregs(s);
		write_way_out(s);
	}
	s->where = SHADOW_RUNNING;
	return 0;
}

int shadow_get_rest(struct shadow_vm *s)
{
	struct cpu_state *real = calloc(1, sizeof(*real));
	int r;

	if (!real)
		return log_errno(ENOMEM, "shadow: CPU state");
	r = vcpu_get_parts(&s->vm->vcpu, real, VCPU_MSRS | VCPU_XSAVE | VCPU_DEBUGREGS);
	memcpy(s->cs.xsave, real->xsave, sizeof(s->cs.xsave));
	s->cs.msr[CPU_MSR_TSC] = real->msr[CPU_MSR_TSC];
	s->cs.dr6 = real->dr6;
	free(real);
	return r;
}

/* SYSCALL is to end in its stub with every flag off; SYSENTER is to fault. */
int shadow_set_rest(struct shadow_vm *s)
{
	struct cpu_state *real = malloc(sizeof(*real));
	int r;

	if (!real)
		return log_errno(ENOMEM, "shadow: CPU state");
	*real = s->cs;
	real->msr[CPU_MSR_STAR] = (uint64_t)MONITOR_CS << 32;
	real->msr[CPU_MSR_LSTAR] = monitor_syscall_gva();
	real->msr[CPU_MSR_SFMASK] = SFMASK_ALL;
	real->msr[CPU_MSR_SYSENTER_CS] = 0;
	real->exception.valid = real->interrupt.valid = real->interrupt_shadow = real->nmi_masked = false;
	s->debug_stale = false;
	r = vcpu_set_parts(&s->vm->vcpu, real, VCPU_MSRS | VCPU_XSAVE | VCPU_DEBUGREGS | VCPU_EVENTS);
	free(real);
	return r;
}
