#include "shadow/resume.h"

#include <linux/kvm.h>

#include "guest/abi.h"
#include "shadow/debug_registers.h"
#include "shadow/debug_stop.h"
#include "shadow/shadow_vm.h"
#include "vmm/kvm.h"
#include "vmm/mmu.h"
#include "vmm/vcpu_state.h"
#include "vmm/vm.h"

#define CR0_FIXED (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)
#define CR4_SHOWN (CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE | CR4_TSD)

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
	uint64_t rflags = (s->cs.rflags & ~RFLAGS_HIDDEN) | (s->tf_added ? RFLAGS_TF : 0);
	bool long_code = s->cs.segment[CPU_CS].attributes & CPU_SEGMENT_LONG;

	return (struct monitor_frame){.rip = s->cs.rip, .cs = (long_code ? MONITOR_USER_CS : MONITOR_USER_CS32) | 3, .rflags = rflags,
				      .rsp = s->cs.gpr[CPU_RSP], .ss = MONITOR_USER_SS | 3};
}

/* One instruction is to be seen out, and the guest does not see to that itself. */
static bool needs_step(const struct shadow_vm *s)
{
	return (s->step || tables_lent(s->tables) || debug_stop_wants_step(s)) && !(s->cs.rflags & RFLAGS_TF);
}

static void write_way_out(struct shadow_vm *s)
{
	struct kvm_run *run = s->vm->vcpu.run;
	struct monitor_frame frame;
	struct kvm_regs *regs = &run->s.regs.regs;
	const struct tables_edit *edits;
	size_t count;

	s->tf_added = needs_step(s);
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

/* Not every CPU clears what DR6 had before: a step of ours starts without. */
static int write_debugregs(struct shadow_vm *s)
{
	s->debug_stale = false;
	return debug_registers_write(&s->vm->vcpu, &s->cs, s->cs.dr6 & ~(needs_step(s) ? DR6_MET : 0));
}

/* A kick that changed nothing: ring 3 simply runs on. */
static bool can_run_on(const struct shadow_vm *s)
{
	size_t edits;

	tables_edits(s->tables, &edits);
	return s->where == SHADOW_IN_GUEST && !edits && !s->reload && !s->control_stale && !s->debug_stale && !s->step &&
	       !tables_lent(s->tables) && !debug_stop_wants_step(s);
}

/* Anything that has moved cs on meanwhile, an interrupt say, has put the instruction off. */
static void lend_tables(struct shadow_vm *s)
{
	const struct shadow_wish *w = &s->wish;

	if (w->count && w->rip == s->cs.rip)
		tables_lend(s->tables, &s->cs, shadow_view(s), MMU_WRITE | gmem_user(&s->cs), w->gva, w->count);
}

int resume_prepare(struct shadow_vm *s)
{
	int r = find_root(s);

	if (r < 0)
		return r;
	lend_tables(s);
	if (tables_must_recycle(s->tables))
		r = find_root(s);
	if (r < 0)
		return r;
	s->debug_stale |= needs_step(s) && (s->cs.dr6 & DR6_MET);
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
