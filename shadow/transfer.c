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
	if ((t->ss & 3) != rpl)
		return gp(x, t->ss);
	r = descriptor_read(x->g, t->ss, 0, &d, x->trap);
	if (r != INSN_DONE)
		return r;
	if (!descriptor_is_data(&d) || !(d.segment.attributes & SEGMENT_WRITABLE) ||
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

/* Code other than 64-bit code has ESP or SP. */
static uint64_t stack_pointer(const struct target *t, uint64_t old)
{
	if (t->code.segment.attributes & CPU_SEGMENT_LONG)
		return t->rsp;
	return t->stack.attributes & SEGMENT_DB ? (uint32_t)t->rsp : (old & ~0xffffull) | (t->rsp & 0xffff);
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
	x->cs->gpr[CPU_RSP] = stack_pointer(t, x->cs->gpr[CPU_RSP]);
	x->cs->interrupt_shadow = false;
	x->p->effects |= PRIVILEGED_SEGMENTS;
	return INSN_DONE;
}

/* 64-bit code anywhere canonical, other code within its segment. */
static bool rip_within(const struct target *t)
{
	if (t->code.segment.attributes & CPU_SEGMENT_LONG)
		return privileged_canonical(t->rip);
	return t->rip <= t->code.segment.limit;
}

static uint64_t returned_rflags(uint64_t old, uint64_t image, unsigned int cpl)
{
	uint64_t changeable = RFLAGS_IRET;

	if (cpl == 0)
		changeable |= RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP;
	if (cpl <= (old & RFLAGS_IOPL) >> 12)
		changeable |= RFLAGS_IF;
	return (old & ~changeable) | (image & changeable) | RFLAGS_ONE;
}

/* Bits that an image of fewer than 64 bits does not reach stay as they were. */
static uint64_t widen(uint64_t old, uint64_t image, uint32_t size)
{
	uint64_t mask = size == 8 ? ~0ull : (1ull << 8 * size) - 1;

	return (old & ~mask) | (image & mask);
}

/*
 * Takes `count` words of the instruction's operand size from the stack at *rsp into words[], lowest address first. They are read
 * from the highest down, as CPUs do, which decides what CR2 is where a page is missing.
 */
static enum insn_result pop_words(const struct privileged_insn *x, uint64_t *rsp, uint64_t *words, unsigned int count)
{
	uint32_t size = x->in->info.operand_width / 8u;

	for (unsigned int i = count; i-- > 0;) {
		uint64_t gva = *rsp + (uint64_t)i * size;
		enum insn_result r;

		words[i] = 0;
		if (!gmem_canonical(gva, size))
			return privileged_trap(x, trap_ss(0));
		r = privileged_read(x, gva, &words[i], size, gmem_user(x->cs));
		if (r != INSN_DONE)
			return r;
	}
	*rsp += (uint64_t)count * size;
	return INSN_DONE;
}

/* The outer stack of a return whose code segment is good, and what is left to check. */
static enum insn_result pop_stack(const struct privileged_insn *x, uint64_t rsp, struct target *t)
{
	uint64_t words[2];
	enum insn_result r = pop_words(x, &rsp, words, 2);

	if (r != INSN_DONE)
		return r;
	t->rsp = words[0];
	t->ss = (uint16_t)words[1];
	r = check_stack(x, t);
	if (r == INSN_DONE && !rip_within(t))
		return privileged_trap(x, trap_gp(0));
	return r;
}

/* In 64-bit mode SS:RSP are always taken, too. */
enum insn_result transfer_iret(const struct privileged_insn *x)
{
	unsigned int cpl = gmem_cpl(x->cs);
	uint64_t rsp = x->cs->gpr[CPU_RSP], frame[3], image;
	struct target t;
	enum insn_result r;

	if (x->cs->rflags & RFLAGS_NT)
		return privileged_trap(x, trap_gp(0));
	r = pop_words(x, &rsp, frame, 3);
	if (r != INSN_DONE)
		return r;
	t = (struct target){.rip = frame[0], .cs = (uint16_t)frame[1]};
	r = check_code(x, &t);
	if (r == INSN_DONE)
		r = pop_stack(x, rsp, &t);
	if (r == INSN_DONE)
		r = arrive(x, &t);
	if (r != INSN_DONE)
		return r;
	image = widen(x->cs->rflags, frame[2], x->in->info.operand_width / 8u);
	x->cs->rflags = returned_rflags(x->cs->rflags, image, cpl);
	x->cs->nmi_masked = false;
	return INSN_DONE;
}

/* To the same ring RIP and CS, to an outer one RSP and SS as well, from beyond the parameters that it drops. */
enum insn_result transfer_far_ret(const struct privileged_insn *x)
{
	uint64_t extra = x->in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? x->in->op[0].imm.value.u : 0;
	uint64_t rsp = x->cs->gpr[CPU_RSP], frame[2];
	struct target t;
	enum insn_result r = pop_words(x, &rsp, frame, 2);

	if (r != INSN_DONE)
		return r;
	t = (struct target){.rip = frame[0], .cs = (uint16_t)frame[1], .rsp = rsp + extra};
	r = check_code(x, &t);
	if (r != INSN_DONE)
		return r;
	if ((t.cs & 3) == gmem_cpl(x->cs)) {
		t.stack = x->cs->segment[CPU_SS];
		return rip_within(&t) ? arrive(x, &t) : privileged_trap(x, trap_gp(0));
	}
	r = pop_stack(x, rsp + extra, &t);
	if (r != INSN_DONE)
		return r;
	t.rsp += extra;
	return arrive(x, &t);
}

enum insn_result transfer_sysret(const struct privileged_insn *x)
{
	struct cpu_state *cs = x->cs;
	bool wide = x->in->info.operand_width == 64;
	uint16_t base = (uint16_t)(cs->msr[CPU_MSR_STAR] >> 48);

	if (!(cs->efer & EFER_SCE))
		return privileged_trap(x, trap_ud());
	if (gmem_cpl(cs))
		return privileged_trap(x, trap_gp(0));
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
