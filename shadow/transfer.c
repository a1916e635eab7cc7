#include "shadow/transfer.h"

#include "shadow/descriptor.h"
#include "shadow/rflags.h"
#include "vmm/cpu_state.h"

#define CODE64_USER 0xafbu
#define CODE32_USER 0xcfbu
#define DATA_USER 0xcf3u

/* What IRET may change, by privilege: IOPL only in ring 0, IF only with CPL <= IOPL. */
#define RFLAGS_IRET                                                                                                    \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_DF | RFLAGS_OF | RFLAGS_NT |    \
	 RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)
#define RFLAGS_SYSRET 0x3c7fd7ull

/* Where a far return leads. */
struct target {
	uint64_t rip, rsp;
	uint16_t cs, ss;
	struct descriptor code;
	struct cpu_segment stack;
};

static enum insn_result gp(const struct privileged_insn *x, uint16_t selector)
{
	return privileged_trap(x, trap_selector(TRAP_GP, selector, 0));
}

static enum insn_result check_code(const struct privileged_insn *x, struct target *t)
{
	unsigned int rpl = t->cs & 3, cpl = gmem_cpl(x->cs), dpl;
	enum insn_result r;

	if (selector_is_null(t->cs))
		return privileged_trap(x, trap_gp(0));
	r = descriptor_read(x->g, t->cs, 0, &t->code, x->trap);
	if (r != INSN_DONE)
		return r;
	dpl = descriptor_dpl(&t->code);
	if (!descriptor_is_code(&t->code) || rpl < cpl)
		return gp(x, t->cs);
	if (t->code.segment.attributes & SEGMENT_CONFORMING ? dpl > rpl : dpl != rpl)
		return gp(x, t->cs);
	if ((t->code.segment.attributes & (CPU_SEGMENT_LONG | SEGMENT_DB)) == (CPU_SEGMENT_LONG | SEGMENT_DB))
		return gp(x, t->cs);
	if (!descriptor_present(&t->code))
		return privileged_trap(x, trap_selector(TRAP_NP, t->cs, 0));
	return INSN_DONE;
}

/* A null SS is good for 64-bit code below CPL 3, with its RPL. */
static enum insn_result check_stack(const struct privileged_insn *x, struct target *t)
{
	unsigned int rpl = t->cs & 3;
	struct descriptor d;
	enum insn_result r;

	t->stack = (struct cpu_segment){.selector = t->ss, .attributes = (uint16_t)(rpl << CPU_SEGMENT_DPL_SHIFT)};
	if (selector_is_null(t->ss)) {
		bool good = rpl != 3 && (t->ss & 3) == rpl && (t->code.segment.attributes & CPU_SEGMENT_LONG);

		return good ? INSN_DONE : privileged_trap(x, trap_gp(0));
	}
	r = descriptor_read(x->g, t->ss, 0, &d, x->trap);
	if (r != INSN_DONE)
		return r;
	if ((t->ss & 3) != rpl || !descriptor_is_data(&d) || !(d.segment.attributes & SEGMENT_WRITABLE) ||
	    descriptor_dpl(&d) != rpl)
		return gp(x, t->ss);
	if (!descriptor_present(&d))
		return privileged_trap(x, trap_selector(TRAP_SS, t->ss, 0));
	r = descriptor_mark(x->g, &d, x->trap);
	t->stack = d.segment;
	return r;
}

/* Data segments that the outer ring may not have become null. */
static void drop_inner_segments(struct cpu_state *cs, unsigned int cpl)
{
	static const enum cpu_segment_name names[] = {CPU_ES, CPU_DS, CPU_FS, CPU_GS};

	for (unsigned int i = 0; i < 4; i++) {
		struct cpu_segment *seg = &cs->segment[names[i]];
		bool conforming = (seg->attributes & (SEGMENT_CODE | SEGMENT_CONFORMING)) ==
				  (SEGMENT_CODE | SEGMENT_CONFORMING);

		if (!conforming && (seg->attributes >> CPU_SEGMENT_DPL_SHIFT & 3) < cpl) {
			seg->selector = 0;
			seg->attributes = 0;
		}
	}
}

/* All is checked: goes there. */
static enum insn_result arrive(const struct privileged_insn *x, struct target *t)
{
	unsigned int rpl = t->cs & 3;
	bool outer = rpl > gmem_cpl(x->cs);
	enum insn_result r = descriptor_mark(x->g, &t->code, x->trap);

	if (r != INSN_DONE)
		return r;
	x->cs->segment[CPU_CS] = t->code.segment;
	x->cs->segment[CPU_SS] = t->stack;
	if (outer)
		drop_inner_segments(x->cs, rpl);
	x->cs->rip = t->rip;
	x->cs->gpr[CPU_RSP] = t->rsp;
	x->cs->interrupt_shadow = false;
	x->p->effects |= PRIVILEGED_SEGMENTS;
	return INSN_DONE;
}

static enum insn_result check_target(const struct privileged_insn *x, struct target *t)
{
	enum insn_result r = check_code(x, t);

	if (r == INSN_DONE)
		r = check_stack(x, t);
	if (r == INSN_DONE && !privileged_canonical(t->rip))
		return privileged_trap(x, trap_gp(0));
	return r;
}

static uint64_t returned_rflags(uint64_t old, uint64_t image, unsigned int cpl)
{
	uint64_t changeable = RFLAGS_IRET;

	if (cpl == 0)
		changeable |= RFLAGS_IOPL;
	if (cpl <= (old & RFLAGS_IOPL) >> 12)
		changeable |= RFLAGS_IF;
	return (old & ~changeable) | (image & changeable) | RFLAGS_ONE;
}

/* 64-bit operand size: five quadwords, always with SS:RSP. */
enum insn_result transfer_iret(const struct privileged_insn *x)
{
	unsigned int cpl = gmem_cpl(x->cs);
	uint64_t rsp = x->cs->gpr[CPU_RSP], frame[5];
	struct target t;
	enum insn_result r;

	if (x->cs->rflags & RFLAGS_NT)
		return privileged_trap(x, trap_gp(0));
	if (!gmem_canonical(rsp, sizeof(frame)))
		return privileged_trap(x, trap_ss(0));
	r = privileged_read(x, rsp, frame, sizeof(frame), gmem_user(x->cs));
	if (r != INSN_DONE)
		return r;
	t = (struct target){.rip = frame[0], .cs = (uint16_t)frame[1], .rsp = frame[3], .ss = (uint16_t)frame[4]};
	r = check_target(x, &t);
	if (r == INSN_DONE)
		r = arrive(x, &t);
	if (r == INSN_DONE) {
		x->cs->rflags = returned_rflags(x->cs->rflags, frame[2], cpl);
		x->cs->nmi_masked = false;
	}
	return r;
}

/* RET far with 64-bit operands: to the same ring RIP and CS, to an outer one RSP and SS as well. */
enum insn_result transfer_far_ret(const struct privileged_insn *x)
{
	uint64_t rsp = x->cs->gpr[CPU_RSP], frame[4] = {0};
	uint64_t extra = x->in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? x->in->op[0].imm.value.u : 0;
	struct target t;
	enum insn_result r;

	if (x->in->info.operand_width != 64)
		return INSN_UNKNOWN;
	if (!gmem_canonical(rsp, 16))
		return privileged_trap(x, trap_ss(0));
	r = privileged_read(x, rsp, frame, 16, gmem_user(x->cs));
	if (r != INSN_DONE)
		return r;
	t = (struct target){.rip = frame[0], .cs = (uint16_t)frame[1], .rsp = rsp + 16 + extra};
	r = check_code(x, &t);
	if (r != INSN_DONE)
		return r;
	if ((t.cs & 3) == gmem_cpl(x->cs)) {
		t.stack = x->cs->segment[CPU_SS];
		return privileged_canonical(t.rip) ? arrive(x, &t) : privileged_trap(x, trap_gp(0));
	}
	if (!gmem_canonical(t.rsp, 16))
		return privileged_trap(x, trap_ss(0));
	r = privileged_read(x, t.rsp, frame + 2, 16, gmem_user(x->cs));
	if (r != INSN_DONE)
		return r;
	t.rsp = frame[2] + extra;
	t.ss = (uint16_t)frame[3];
	r = check_target(x, &t);
	return r == INSN_DONE ? arrive(x, &t) : r;
}

enum insn_result transfer_sysret(const struct privileged_insn *x)
{
	struct cpu_state *cs = x->cs;
	bool wide = x->in->info.operand_width == 64;
	uint16_t base = (uint16_t)(cs->msr[CPU_MSR_STAR] >> 48);

	if (!(cs->efer & EFER_SCE))
		return privileged_trap(x, trap_ud());
	if (wide && !privileged_canonical(cs->gpr[CPU_RCX]))
		return privileged_trap(x, trap_gp(0));
	cs->rip = wide ? cs->gpr[CPU_RCX] : (uint32_t)cs->gpr[CPU_RCX];
	cs->rflags = (cs->gpr[CPU_R11] & RFLAGS_SYSRET & ~(RFLAGS_RF | RFLAGS_VM)) | RFLAGS_ONE;
	cs->segment[CPU_CS] = (struct cpu_segment){.selector = (uint16_t)((base + (wide ? 16 : 0)) | 3),
						   .attributes = wide ? CODE64_USER : CODE32_USER,
						   .limit = UINT32_MAX};
	cs->segment[CPU_SS] = (struct cpu_segment){.selector = (uint16_t)((base + 8) | 3), .attributes = DATA_USER,
						   .limit = UINT32_MAX};
	cs->interrupt_shadow = false;
	x->p->effects |= PRIVILEGED_SEGMENTS;
	return INSN_DONE;
}
