#include "shadow/insn_stack.h"

#include "vmm/cpu_state.h"

/* Of the stack slot; the operand of a PUSH of an immediate is narrower. */
static uint32_t slot_size(const struct execution *x)
{
	return x->in->info.operand_width / 8u;
}

enum insn_result insn_push(const struct execution *x)
{
	uint64_t rsp = x->cs->gpr[CPU_RSP] - slot_size(x), value;
	struct operand from, slot;
	enum insn_result r;

	r = operand_prepare(x, &x->in->op[0], 0, &from);
	if (r == INSN_DONE)
		r = operand_prepare_stack(x, rsp, slot_size(x), true, &slot);
	if (r == INSN_DONE)
		r = operand_load(x, &from, &value);
	if (r == INSN_DONE)
		r = operand_store(x, &slot, value);
	if (r != INSN_DONE)
		return r;
	x->cs->gpr[CPU_RSP] = rsp;
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}

/* POP names its destination with the RSP it leaves behind. */
static uint64_t pop_distance(const struct execution *x)
{
	const ZydisDecodedOperand *op = &x->in->op[0];

	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return 0;
	return op->mem.base == ZYDIS_REGISTER_RSP || op->mem.base == ZYDIS_REGISTER_ESP ? slot_size(x) : 0;
}

enum insn_result insn_pop(const struct execution *x)
{
	uint64_t rsp = x->cs->gpr[CPU_RSP], value;
	struct operand to, slot;
	enum insn_result r;

	r = operand_prepare_stack(x, rsp, slot_size(x), false, &slot);
	if (r == INSN_DONE)
		r = operand_prepare(x, &x->in->op[0], pop_distance(x), &to);
	if (r == INSN_DONE)
		r = operand_load(x, &slot, &value);
	if (r != INSN_DONE)
		return r;
	if (to.memory) {
		r = operand_store(x, &to, value);
		if (r != INSN_DONE)
			return r;
	}
	x->cs->gpr[CPU_RSP] = rsp + slot_size(x);
	/* After RSP has moved: POP RSP ends with what was popped. */
	if (!to.memory)
		operand_store(x, &to, value);
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}

enum insn_result insn_call(const struct execution *x)
{
	uint64_t rsp = x->cs->gpr[CPU_RSP] - sizeof(rsp), next = x->cs->rip + x->in->info.length, target;
	struct operand to, slot;
	enum insn_result r;

	/* The prefix itself: Zydis takes indirect calls for 64-bit ones even with it, AMD's CPUs do not. */
	if (x->in->info.meta.branch_type != ZYDIS_BRANCH_TYPE_NEAR ||
	    (x->in->info.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
		return INSN_UNKNOWN;
	r = operand_prepare(x, &x->in->op[0], 0, &to);
	if (r == INSN_DONE)
		r = operand_prepare_stack(x, rsp, sizeof(rsp), true, &slot);
	if (r == INSN_DONE)
		r = operand_load(x, &to, &target);
	if (r != INSN_DONE)
		return r;
	if (to.op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		target += next;
	if (!gmem_canonical(target, 1))
		return execution_trap(x, trap_gp(0));
	r = operand_store(x, &slot, next);
	if (r != INSN_DONE)
		return r;
	x->cs->gpr[CPU_RSP] = rsp;
	insn_advance(x->cs, x->in);
	x->cs->rip = target;
	return INSN_DONE;
}
