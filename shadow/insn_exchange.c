#include "shadow/insn_exchange.h"

#include <string.h>

#include "shadow/insn_alu.h"
#include "shadow/rflags.h"
#include "vmm/cpu_state.h"

enum insn_result insn_exchange(const struct execution *x)
{
	struct operand to, from;
	enum insn_result r;
	uint64_t a, b;

	r = operand_take_two(x, &to, &a, &from, &b);
	if (r == INSN_DONE)
		r = operand_store(x, &to, b);
	if (r == INSN_DONE)
		r = operand_store(x, &from, a);
	return r == INSN_DONE ? execution_done(x, x->cs->rflags) : r;
}

/* Memory first, it may end the VM; among registers the sum wins over the old value. */
enum insn_result insn_exchange_add(const struct execution *x)
{
	uint64_t a, b, sum, rflags = x->cs->rflags;
	struct operand to, from;
	enum insn_result r;

	r = operand_take_two(x, &to, &a, &from, &b);
	if (r != INSN_DONE)
		return r;
	sum = alu_add(a, b, to.size, &rflags);
	if (to.memory) {
		r = operand_store(x, &to, sum);
		if (r != INSN_DONE)
			return r;
	}
	operand_store(x, &from, a);
	if (!to.memory)
		operand_store(x, &to, sum);
	return execution_done(x, rflags);
}

/* Memory is written either way: with what it held if it is not equal to the accumulator. */
enum insn_result insn_compare_exchange(const struct execution *x)
{
	struct operand to, from, accumulator;
	uint64_t a, b, expected, rflags = x->cs->rflags;
	enum insn_result r;

	r = operand_prepare_two(x, &to, &from);
	if (r == INSN_DONE)
		r = operand_prepare(x, &x->in->op[2], 0, &accumulator);
	if (r == INSN_DONE)
		r = operand_load_two(x, &to, &a, &from, &b);
	if (r == INSN_DONE)
		r = operand_load(x, &accumulator, &expected);
	if (r != INSN_DONE)
		return r;
	alu_cmp(expected, a, to.size, &rflags);
	if (to.memory || (rflags & RFLAGS_ZF))
		r = operand_store(x, &to, rflags & RFLAGS_ZF ? b : a);
	if (r != INSN_DONE)
		return r;
	if (!(rflags & RFLAGS_ZF))
		operand_store(x, &accumulator, a);
	return execution_done(x, rflags);
}

/* CMPXCHG8B and 16B: halves of `half` bytes, low one first, in RDX:RAX and RCX:RBX. */
enum insn_result insn_compare_exchange_pair(const struct execution *x)
{
	struct cpu_state *cs = x->cs;
	unsigned int half = x->in->op[0].size / 16u;
	ZydisRegisterClass class = half == 8 ? ZYDIS_REGCLASS_GPR64 : ZYDIS_REGCLASS_GPR32;
	ZydisRegister low = ZydisRegisterEncode(class, CPU_RAX), high = ZydisRegisterEncode(class, CPU_RDX);
	uint64_t old[2] = {0}, rflags = cs->rflags & ~RFLAGS_ZF;
	uint8_t bytes[16], new[16];
	struct operand o;
	enum insn_result r;

	r = operand_prepare(x, &x->in->op[0], 0, &o);
	if (r == INSN_DONE)
		r = operand_load_bytes(x, &o, bytes);
	if (r != INSN_DONE)
		return r;
	memcpy(&old[0], bytes, half);
	memcpy(&old[1], bytes + half, half);
	memcpy(new, &cs->gpr[CPU_RBX], half);
	memcpy(new + half, &cs->gpr[CPU_RCX], half);
	if (old[0] == insn_read_reg(cs, low) && old[1] == insn_read_reg(cs, high))
		rflags |= RFLAGS_ZF;
	r = operand_store_bytes(x, &o, rflags & RFLAGS_ZF ? new : bytes);
	if (r != INSN_DONE)
		return r;
	if (!(rflags & RFLAGS_ZF)) {
		insn_write_reg(cs, low, old[0]);
		insn_write_reg(cs, high, old[1]);
	}
	return execution_done(x, rflags);
}
