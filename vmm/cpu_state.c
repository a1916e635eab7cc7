#include "vmm/cpu_state.h"

#include <string.h>

#include "vmm/state.h"

const uint32_t cpu_msr_number[CPU_MSR_COUNT] = {
	[CPU_MSR_STAR] = 0xc0000081,
	[CPU_MSR_LSTAR] = 0xc0000082,
	[CPU_MSR_CSTAR] = 0xc0000083,
	[CPU_MSR_SFMASK] = 0xc0000084,
	[CPU_MSR_KERNEL_GS_BASE] = 0xc0000102,
	[CPU_MSR_SYSENTER_CS] = 0x174,
	[CPU_MSR_SYSENTER_ESP] = 0x175,
	[CPU_MSR_SYSENTER_EIP] = 0x176,
	[CPU_MSR_PAT] = 0x277,
	[CPU_MSR_TSC] = 0x10,
};

#define SEGMENT_ATTRIBUTES 0xfffu
#define CR8_BITS 0xfull
#define MXCSR_BITS 0x2ffffu /* with AMD's MM (APM vol. 1, 4.2.2) */
#define UPPER_HALF 0xffffffff00000000ull

static void visit_segment(struct cpu_segment *seg, struct state *s)
{
	state_u16(s, &seg->selector);
	state_u16(s, &seg->attributes);
	state_u32(s, &seg->limit);
	state_u64(s, &seg->base);
	state_check(s, !(seg->attributes & ~SEGMENT_ATTRIBUTES), "cpu: segment attributes out of range");
}

static void visit_table(struct cpu_table *t, struct state *s)
{
	state_u64(s, &t->base);
	state_u16(s, &t->limit);
}

static void visit_event(struct cpu_event *e, struct state *s)
{
	state_bool(s, &e->valid);
	state_bool(s, &e->has_error);
	state_u8(s, &e->vector);
	state_u32(s, &e->error);
}

static void visit_control(struct cpu_state *cs, struct state *s)
{
	uint64_t *const regs[] = {&cs->cr0, &cs->cr2, &cs->cr3, &cs->cr4, &cs->cr8, &cs->efer, &cs->dr6, &cs->dr7};

	for (unsigned int i = 0; i < sizeof(regs) / sizeof(*regs); i++)
		state_u64(s, regs[i]);
	for (unsigned int i = 0; i < 4; i++)
		state_u64(s, &cs->dr[i]);
	state_check(s, !(cs->cr0 & UPPER_HALF), "cpu: reserved bits of CR0");
	state_check(s, !(cs->cr8 & ~CR8_BITS), "cpu: reserved bits of CR8");
	state_check(s, !((cs->dr6 | cs->dr7) & UPPER_HALF), "cpu: reserved bits of DR6 or DR7");
	state_check(s, !(cs->cr0 & CR0_PG) || (cs->cr0 & CR0_PE), "cpu: paging without protected mode");
	state_check(s, !(cs->efer & EFER_LMA) == !((cs->efer & EFER_LME) && (cs->cr0 & CR0_PG)),
		    "cpu: EFER.LMA does not match EFER.LME and CR0.PG");
}

/* What the processor itself has put into MXCSR is right, also if it is one that knows more bits. */
static void visit_xsave(struct cpu_state *cs, struct state *s)
{
	uint32_t mxcsr;

	state_bytes(s, cs->xsave, sizeof(cs->xsave));
	if (s->direction == STATE_SAVE)
		return;
	xsave_unpack(cs->xsave);
	memcpy(&mxcsr, cs->xsave + XSAVE_MXCSR, sizeof(mxcsr));
	state_check(s, !(mxcsr & ~MXCSR_BITS), "cpu: reserved bits of MXCSR");
}

void cpu_state_visit(struct cpu_state *cs, struct state *s)
{
	state_begin(s, "cpu", 1);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		state_u64(s, &cs->gpr[i]);
	state_u64(s, &cs->rip);
	state_u64(s, &cs->rflags);
	for (unsigned int i = 0; i < CPU_SEGMENT_COUNT; i++)
		visit_segment(&cs->segment[i], s);
	visit_table(&cs->gdt, s);
	visit_table(&cs->idt, s);
	visit_control(cs, s);
	for (unsigned int i = 0; i < CPU_MSR_COUNT; i++)
		state_u64(s, &cs->msr[i]);
	visit_event(&cs->exception, s);
	visit_event(&cs->interrupt, s);
	state_check(s, cs->exception.vector < 32, "cpu: exception vector above 31");
	state_bool(s, &cs->interrupt_shadow);
	state_bool(s, &cs->nmi_masked);
	state_bool(s, &cs->halted);
	visit_xsave(cs, s);
	state_end(s);
}
