#include "shadow/insn_operand.h"

#include "shadow/rflags.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/mmu.h"

#define CR0_AM (1ull << 18)

enum insn_result execution_trap(const struct execution *x, struct trap trap)
{
	*x->trap = trap;
	return INSN_TRAP;
}

enum insn_result execution_done(const struct execution *x, uint64_t rflags)
{
	x->cs->rflags = rflags;
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}

static bool alignment_checked(const struct execution *x)
{
	return (x->cs->cr0 & CR0_AM) && (x->cs->rflags & RFLAGS_AC) && gmem_cpl(x->cs) == 3;
}

static enum insn_result prepare_memory(const struct execution *x, uint64_t gva, struct operand *o)
{
	unsigned int access = (o->written ? MMU_WRITE : MMU_READ) | gmem_user(x->cs);
	struct gfault fault;

	o->memory = true;
	if (x->form->aligned && gva % o->size)
		return execution_trap(x, trap_gp(0));
	if (alignment_checked(x) && gva % o->size)
		return execution_trap(x, (struct trap){.vector = TRAP_AC, .has_error = true});
	if (gmem_resolve(x->g, gva, o->size, access, &o->range, &fault) < 0)
		return execution_trap(x, trap_of_fault(&fault));
	return INSN_DONE;
}

static struct operand operand_of(const ZydisDecodedOperand *op)
{
	return (struct operand){
		.op = op,
		.size = op->size / 8u,
		.written = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE,
	};
}

static bool general(ZydisRegister reg)
{
	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return true;
	default:
		return false;
	}
}

enum insn_result operand_prepare(const struct execution *x, const ZydisDecodedOperand *op, uint64_t distance,
				 struct operand *o)
{
	uint64_t gva;

	*o = operand_of(op);
	switch (op->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return general(op->reg.value) ? INSN_DONE : INSN_UNKNOWN;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return INSN_DONE;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		break;
	default:
		return INSN_UNKNOWN;
	}
	if (op->mem.type != ZYDIS_MEMOP_TYPE_MEM)
		return INSN_UNKNOWN;
	if (!insn_address_beside(x->cs, x->in, op, o->size, distance, &gva, x->trap))
		return INSN_TRAP;
	return prepare_memory(x, gva, o);
}

enum insn_result operand_prepare_stack(const struct execution *x, uint64_t gva, uint32_t size, bool write,
				       struct operand *o)
{
	*o = (struct operand){.size = size, .written = write};
	if (!gmem_canonical(gva, size))
		return execution_trap(x, trap_ss(0));
	return prepare_memory(x, gva, o);
}

enum insn_result operand_load_bytes(const struct execution *x, const struct operand *o, void *to)
{
	return gmem_load(x->g, &o->range, to) < 0 ? INSN_ENDED : INSN_DONE;
}

enum insn_result operand_store_bytes(const struct execution *x, const struct operand *o, const void *from)
{
	return gmem_store(x->g, &o->range, from) < 0 ? INSN_ENDED : INSN_DONE;
}

enum insn_result operand_load(const struct execution *x, const struct operand *o, uint64_t *value)
{
	*value = 0;
	if (o->memory) {
		ensure(o->size <= sizeof(*value));
		return operand_load_bytes(x, o, value);
	}
	if (o->op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		*value = o->op->imm.value.u;
	else
		*value = insn_read_reg(x->cs, o->op->reg.value);
	return INSN_DONE;
}

enum insn_result operand_store(const struct execution *x, const struct operand *o, uint64_t value)
{
	if (o->memory) {
		ensure(o->size <= sizeof(value));
		return operand_store_bytes(x, o, &value);
	}
	insn_write_reg(x->cs, o->op->reg.value, value);
	return INSN_DONE;
}

enum insn_result operand_prepare_two(const struct execution *x, struct operand *to, struct operand *from)
{
	enum insn_result r = operand_prepare(x, &x->in->op[0], 0, to);

	return r == INSN_DONE ? operand_prepare(x, &x->in->op[1], 0, from) : r;
}

enum insn_result operand_load_two(const struct execution *x, const struct operand *to, uint64_t *a,
				  const struct operand *from, uint64_t *b)
{
	enum insn_result r = operand_load(x, to, a);

	return r == INSN_DONE ? operand_load(x, from, b) : r;
}

enum insn_result operand_take_two(const struct execution *x, struct operand *to, uint64_t *a, struct operand *from, uint64_t *b)
{
	enum insn_result r = operand_prepare_two(x, to, from);

	return r == INSN_DONE ? operand_load_two(x, to, a, from, b) : r;
}
