#include "shadow/insn_memory.h"

#include "shadow/insn_alu.h"
#include "shadow/insn_exchange.h"
#include "shadow/insn_operand.h"
#include "shadow/insn_sse.h"
#include "shadow/insn_stack.h"
#include "shadow/insn_string.h"
#include "vmm/cpu_state.h"

static enum insn_result compute_and_store(const struct execution *x, const struct operand *to,
					  uint64_t a, uint64_t b)
{
	uint64_t rflags = x->cs->rflags, result = x->form->compute(a, b, to->size, &rflags);
	enum insn_result r = to->written ? operand_store(x, to, result) : INSN_DONE;

	return r == INSN_DONE ? execution_done(x, rflags) : r;
}

static enum insn_result unary(const struct execution *x)
{
	struct operand to;
	enum insn_result r;
	uint64_t a;

	r = operand_prepare(x, &x->in->op[0], 0, &to);
	if (r == INSN_DONE)
		r = operand_load(x, &to, &a);
	return r == INSN_DONE ? compute_and_store(x, &to, a, 0) : r;
}

static enum insn_result binary(const struct execution *x)
{
	struct operand to, from;
	enum insn_result r;
	uint64_t a, b;

	r = operand_take_two(x, &to, &a, &from, &b);
	return r == INSN_DONE ? compute_and_store(x, &to, a, b) : r;
}

static enum insn_result bit(const struct execution *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	uint64_t a, b, distance = 0;
	struct operand to, from;
	enum insn_result r;

	r = operand_prepare(x, &op[1], 0, &from);
	if (r == INSN_DONE)
		r = operand_load(x, &from, &b);
	if (r != INSN_DONE)
		return r;
	/* A register counts bits from the operand on, forwards and backwards, in steps of its size. */
	if (op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		int64_t number = (int64_t)alu_sign_extend(b, from.size);

		distance = (uint64_t)(number >> 3) & -(uint64_t)from.size;
	}
	r = operand_prepare(x, &op[0], distance, &to);
	if (r == INSN_DONE)
		r = operand_load(x, &to, &a);
	return r == INSN_DONE ? compute_and_store(x, &to, a, b) : r;
}

static enum insn_result move_as(const struct execution *x, uint64_t (*extend)(uint64_t value, unsigned int size))
{
	struct operand to, from;
	enum insn_result r;
	uint64_t value;

	r = operand_prepare_two(x, &to, &from);
	if (r == INSN_DONE)
		r = operand_load(x, &from, &value);
	if (r == INSN_DONE)
		r = operand_store(x, &to, extend ? extend(value, from.size) : value);
	return r == INSN_DONE ? execution_done(x, x->cs->rflags) : r;
}

static enum insn_result move(const struct execution *x)
{
	return move_as(x, NULL);
}

static enum insn_result move_signed(const struct execution *x)
{
	return move_as(x, alu_sign_extend);
}

/* Reads its source whatever the condition says, and a 32-bit one clears the upper half of its destination always. */
static enum insn_result move_if(const struct execution *x)
{
	struct operand to, from;
	enum insn_result r;
	uint64_t a, b;

	r = operand_take_two(x, &to, &a, &from, &b);
	if (r == INSN_DONE)
		r = operand_store(x, &to, alu_condition(x->in->info.opcode & 15, x->cs->rflags) ? b : a);
	return r == INSN_DONE ? execution_done(x, x->cs->rflags) : r;
}

static enum insn_result set_if(const struct execution *x)
{
	struct operand to;
	enum insn_result r;

	r = operand_prepare(x, &x->in->op[0], 0, &to);
	if (r == INSN_DONE)
		r = operand_store(x, &to, alu_condition(x->in->info.opcode & 15, x->cs->rflags));
	return r == INSN_DONE ? execution_done(x, x->cs->rflags) : r;
}

#define CONDITIONS(name, how) \
	[ZYDIS_MNEMONIC_##name##O] = {.run = how}, [ZYDIS_MNEMONIC_##name##NO] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##B] = {.run = how}, [ZYDIS_MNEMONIC_##name##NB] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##Z] = {.run = how}, [ZYDIS_MNEMONIC_##name##NZ] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##BE] = {.run = how}, [ZYDIS_MNEMONIC_##name##NBE] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##S] = {.run = how}, [ZYDIS_MNEMONIC_##name##NS] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##P] = {.run = how}, [ZYDIS_MNEMONIC_##name##NP] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##L] = {.run = how}, [ZYDIS_MNEMONIC_##name##NL] = {.run = how}, \
	[ZYDIS_MNEMONIC_##name##LE] = {.run = how}, [ZYDIS_MNEMONIC_##name##NLE] = {.run = how}

static const struct insn_form forms[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	[ZYDIS_MNEMONIC_ADD] = {.run = binary, .compute = alu_add},
	[ZYDIS_MNEMONIC_OR] = {.run = binary, .compute = alu_or},
	[ZYDIS_MNEMONIC_ADC] = {.run = binary, .compute = alu_adc},
	[ZYDIS_MNEMONIC_SBB] = {.run = binary, .compute = alu_sbb},
	[ZYDIS_MNEMONIC_AND] = {.run = binary, .compute = alu_and},
	[ZYDIS_MNEMONIC_SUB] = {.run = binary, .compute = alu_sub},
	[ZYDIS_MNEMONIC_XOR] = {.run = binary, .compute = alu_xor},
	[ZYDIS_MNEMONIC_CMP] = {.run = binary, .compute = alu_cmp},
	[ZYDIS_MNEMONIC_TEST] = {.run = binary, .compute = alu_test},
	[ZYDIS_MNEMONIC_SHL] = {.run = binary, .compute = alu_shl},
	[ZYDIS_MNEMONIC_SHR] = {.run = binary, .compute = alu_shr},
	[ZYDIS_MNEMONIC_SAR] = {.run = binary, .compute = alu_sar},
	[ZYDIS_MNEMONIC_INC] = {.run = unary, .compute = alu_inc},
	[ZYDIS_MNEMONIC_DEC] = {.run = unary, .compute = alu_dec},
	[ZYDIS_MNEMONIC_NEG] = {.run = unary, .compute = alu_neg},
	[ZYDIS_MNEMONIC_NOT] = {.run = unary, .compute = alu_not},
	[ZYDIS_MNEMONIC_BT] = {.run = bit, .compute = alu_bt},
	[ZYDIS_MNEMONIC_BTS] = {.run = bit, .compute = alu_bts},
	[ZYDIS_MNEMONIC_BTR] = {.run = bit, .compute = alu_btr},
	[ZYDIS_MNEMONIC_BTC] = {.run = bit, .compute = alu_btc},
	[ZYDIS_MNEMONIC_MOV] = {.run = move},
	[ZYDIS_MNEMONIC_MOVZX] = {.run = move},
	[ZYDIS_MNEMONIC_MOVNTI] = {.run = move},
	[ZYDIS_MNEMONIC_MOVSX] = {.run = move_signed},
	[ZYDIS_MNEMONIC_MOVSXD] = {.run = move_signed},
	[ZYDIS_MNEMONIC_XCHG] = {.run = insn_exchange},
	[ZYDIS_MNEMONIC_XADD] = {.run = insn_exchange_add},
	[ZYDIS_MNEMONIC_CMPXCHG] = {.run = insn_compare_exchange},
	[ZYDIS_MNEMONIC_CMPXCHG8B] = {.run = insn_compare_exchange_pair},
	[ZYDIS_MNEMONIC_CMPXCHG16B] = {.run = insn_compare_exchange_pair, .aligned = true},
	[ZYDIS_MNEMONIC_PUSH] = {.run = insn_push},
	[ZYDIS_MNEMONIC_POP] = {.run = insn_pop},
	[ZYDIS_MNEMONIC_CALL] = {.run = insn_call},
	[ZYDIS_MNEMONIC_STOSB] = {.run = insn_string},
	[ZYDIS_MNEMONIC_STOSW] = {.run = insn_string},
	[ZYDIS_MNEMONIC_STOSD] = {.run = insn_string},
	[ZYDIS_MNEMONIC_STOSQ] = {.run = insn_string},
	[ZYDIS_MNEMONIC_LODSB] = {.run = insn_string},
	[ZYDIS_MNEMONIC_LODSW] = {.run = insn_string},
	[ZYDIS_MNEMONIC_LODSD] = {.run = insn_string},
	[ZYDIS_MNEMONIC_LODSQ] = {.run = insn_string},
	[ZYDIS_MNEMONIC_MOVSB] = {.run = insn_string},
	[ZYDIS_MNEMONIC_MOVSW] = {.run = insn_string},
	[ZYDIS_MNEMONIC_MOVSD] = {.run = insn_string},
	[ZYDIS_MNEMONIC_MOVSQ] = {.run = insn_string},
	[ZYDIS_MNEMONIC_MOVAPS] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVAPD] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVDQA] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVNTDQ] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVNTPS] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVNTPD] = {.run = insn_sse_move, .aligned = true},
	[ZYDIS_MNEMONIC_MOVUPS] = {.run = insn_sse_move},
	[ZYDIS_MNEMONIC_MOVUPD] = {.run = insn_sse_move},
	[ZYDIS_MNEMONIC_MOVDQU] = {.run = insn_sse_move},
	[ZYDIS_MNEMONIC_MOVQ] = {.run = insn_sse_move},
	[ZYDIS_MNEMONIC_MOVD] = {.run = insn_sse_move},
	CONDITIONS(SET, set_if),
	CONDITIONS(CMOV, move_if),
};

enum insn_result insn_execute_memory(struct gmem *g, const struct insn *in, uint8_t (*xmm)[16], uint32_t iterations,
				     struct trap *trap)
{
	const struct insn_form *form = &forms[in->info.mnemonic];
	const struct execution x = {
		.form = form, .g = g, .cs = g->cs, .in = in, .xmm = xmm, .iterations = iterations, .trap = trap,
	};

	if (!form->run || in->info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return INSN_UNKNOWN;
	return form->run(&x);
}
