#include "shadow/insn_sse.h"

#include <string.h>

#include "vmm/cpu_state.h"

#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define XMM_COUNT 16

static bool xmm_number(const ZydisDecodedOperand *op, unsigned int *number)
{
	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(op->reg.value) != ZYDIS_REGCLASS_XMM)
		return false;
	*number = (unsigned int)ZydisRegisterGetId(op->reg.value);
	return *number < XMM_COUNT;
}

static enum insn_result usable(const struct execution *x)
{
	if ((x->cs->cr0 & CR0_EM) || !(x->cs->cr4 & CR4_OSFXSR))
		return execution_trap(x, trap_ud());
	if (x->cs->cr0 & CR0_TS)
		return execution_trap(x, (struct trap){.vector = TRAP_NM});
	return INSN_DONE;
}

enum insn_result insn_sse_move(const struct execution *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	bool load = op[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
	const ZydisDecodedOperand *memory = &op[load ? 1 : 0];
	uint8_t bytes[16] = {0};
	struct operand o;
	unsigned int number;
	enum insn_result r;

	if (!x->xmm || memory->type != ZYDIS_OPERAND_TYPE_MEMORY || !xmm_number(&op[load ? 0 : 1], &number))
		return INSN_UNKNOWN;
	r = usable(x);
	if (r == INSN_DONE)
		r = operand_prepare(x, memory, 0, &o);
	if (r == INSN_DONE)
		r = load ? operand_load_bytes(x, &o, bytes) : operand_store_bytes(x, &o, x->xmm[number]);
	if (r != INSN_DONE)
		return r;
	if (load)
		memcpy(x->xmm[number], bytes, sizeof(bytes));
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}
