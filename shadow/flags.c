#include "shadow/flags.h"

#include "shadow/rflags.h"
#include "vmm/cpu_state.h"

#define RFLAGS_POPPED                                                                                                  \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_DF | RFLAGS_OF | RFLAGS_NT |    \
	 RFLAGS_AC | RFLAGS_ID)

/* 8, or 2 with an operand-size prefix. */
static uint32_t slot_size(const struct privileged_insn *x)
{
	return x->in->info.operand_width / 8u;
}

enum insn_result flags_push(const struct privileged_insn *x)
{
	uint64_t value = x->cs->rflags & ~(RFLAGS_RF | RFLAGS_VM), rsp = x->cs->gpr[CPU_RSP] - slot_size(x);
	enum insn_result r;

	if (!gmem_canonical(rsp, slot_size(x)))
		return privileged_trap(x, trap_ss(0));
	r = privileged_write(x, rsp, &value, slot_size(x), gmem_user(x->cs));
	if (r != INSN_DONE)
		return r;
	x->cs->gpr[CPU_RSP] = rsp;
	return privileged_done(x, 0);
}

/* IOPL changes in ring 0 only, IF with CPL <= IOPL only; neither faults otherwise. */
static uint64_t changeable(const struct privileged_insn *x)
{
	unsigned int cpl = gmem_cpl(x->cs);
	uint64_t flags = RFLAGS_POPPED;

	if (cpl == 0)
		flags |= RFLAGS_IOPL;
	if (cpl <= (x->cs->rflags & RFLAGS_IOPL) >> 12)
		flags |= RFLAGS_IF;
	return slot_size(x) == 2 ? flags & 0xffff : flags;
}

enum insn_result flags_pop(const struct privileged_insn *x)
{
	uint64_t value = 0, rsp = x->cs->gpr[CPU_RSP], flags = changeable(x);
	enum insn_result r;

	if (!gmem_canonical(rsp, slot_size(x)))
		return privileged_trap(x, trap_ss(0));
	r = privileged_read(x, rsp, &value, slot_size(x), gmem_user(x->cs));
	if (r != INSN_DONE)
		return r;
	x->cs->rflags = (x->cs->rflags & ~flags) | (value & flags) | RFLAGS_ONE;
	x->cs->gpr[CPU_RSP] = rsp + slot_size(x);
	return privileged_done(x, 0);
}
