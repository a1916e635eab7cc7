#include "shadow/insn_string.h"

#include "shadow/rflags.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"

#define REP (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)

/* Moves RSI or RDI on, in the width of addresses, if the operand is the memory it points at. */
static void move_pointer(const struct execution *x, const struct operand *o)
{
	ZydisRegister pointer = o->memory ? o->op->mem.base : ZYDIS_REGISTER_NONE;
	uint64_t step = x->cs->rflags & RFLAGS_DF ? -(uint64_t)o->size : o->size;

	if (pointer != ZYDIS_REGISTER_NONE)
		insn_write_reg(x->cs, pointer, insn_read_reg(x->cs, pointer) + step);
}

static enum insn_result iterate(const struct execution *x)
{
	struct operand to, from;
	enum insn_result r;
	uint64_t value;

	r = operand_prepare(x, &x->in->op[1], 0, &from);
	if (r == INSN_DONE)
		r = operand_prepare(x, &x->in->op[0], 0, &to);
	if (r == INSN_DONE)
		r = operand_load(x, &from, &value);
	if (r == INSN_DONE)
		r = operand_store(x, &to, value);
	if (r != INSN_DONE)
		return r;
	move_pointer(x, &from);
	move_pointer(x, &to);
	return INSN_DONE;
}

static enum insn_result repeat(const struct execution *x)
{
	uint32_t iterations = x->iterations;
	ZydisRegister counter = x->in->info.address_width == 64 ? ZYDIS_REGISTER_RCX : ZYDIS_REGISTER_ECX;

	for (uint64_t left = insn_read_reg(x->cs, counter); left; iterations--) {
		enum insn_result r;

		if (!iterations)
			return INSN_DONE;
		r = iterate(x);
		if (r != INSN_DONE)
			return r;
		insn_write_reg(x->cs, counter, --left);
		/* STI holds interrupts off for one iteration, not for all of them. */
		x->cs->interrupt_shadow = false;
	}
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}

enum insn_result insn_string(const struct execution *x)
{
	enum insn_result r;

	/* MOVSD is also the name of an SSE move. */
	if (x->in->info.meta.category != ZYDIS_CATEGORY_STRINGOP)
		return INSN_UNKNOWN;
	ensure(x->iterations);
	if (x->in->info.attributes & REP)
		return repeat(x);
	r = iterate(x);
	if (r == INSN_DONE)
		insn_advance(x->cs, x->in);
	return r;
}
