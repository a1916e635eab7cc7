#include "shadow/privileged_insn.h"

#include <errno.h>

#include "vmm/mmu.h"

bool privileged_canonical(uint64_t gva)
{
	return gmem_canonical(gva, 1);
}

enum insn_result privileged_trap(const struct privileged_insn *x, struct trap trap)
{
	*x->trap = trap;
	return INSN_TRAP;
}

enum insn_result privileged_done(const struct privileged_insn *x, unsigned int effects)
{
	x->p->effects |= effects;
	insn_advance(x->cs, x->in);
	return INSN_DONE;
}

static enum insn_result result_of(const struct privileged_insn *x, int r, const struct gfault *fault)
{
	if (r == 0)
		return INSN_DONE;
	return r == -EFAULT ? privileged_trap(x, trap_of_fault(fault)) : INSN_ENDED;
}

enum insn_result privileged_read(const struct privileged_insn *x, uint64_t gva, void *to, uint32_t size,
				 unsigned int user)
{
	struct gfault fault;

	return result_of(x, gmem_read(x->g, gva, to, size, MMU_READ | user, &fault), &fault);
}

enum insn_result privileged_write(const struct privileged_insn *x, uint64_t gva, const void *from, uint32_t size,
				  unsigned int user)
{
	struct gfault fault;

	return result_of(x, gmem_write(x->g, gva, from, size, MMU_WRITE | user, &fault), &fault);
}

enum insn_result privileged_read16(const struct privileged_insn *x, const ZydisDecodedOperand *op, uint16_t *value)
{
	uint64_t gva;

	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		*value = (uint16_t)insn_read_reg(x->cs, op->reg.value);
		return INSN_DONE;
	}
	if (!insn_address(x->cs, x->in, op, sizeof(*value), &gva, x->trap))
		return INSN_TRAP;
	return privileged_read(x, gva, value, sizeof(*value), gmem_user(x->cs));
}

enum insn_result privileged_write16(const struct privileged_insn *x, const ZydisDecodedOperand *op, uint64_t value)
{
	uint16_t low = (uint16_t)value;
	uint64_t gva;

	if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
		insn_write_reg(x->cs, op->reg.value, value);
		return INSN_DONE;
	}
	if (!insn_address(x->cs, x->in, op, sizeof(low), &gva, x->trap))
		return INSN_TRAP;
	return privileged_write(x, gva, &low, sizeof(low), gmem_user(x->cs));
}
