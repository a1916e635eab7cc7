#include "shadow/privileged.h"

#include <errno.h>
#include <stddef.h>

#include "shadow/control.h"
#include "shadow/flags.h"
#include "shadow/port.h"
#include "shadow/segment.h"
#include "shadow/transfer.h"
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

static bool is_register(const ZydisDecodedOperand *op, ZydisRegisterClass class)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op->reg.value) == class;
}

static bool has_register(const struct insn *in, ZydisRegisterClass class)
{
	return is_register(&in->op[0], class) || is_register(&in->op[1], class);
}

/* MOV is many instructions; only three of them are ours. */
static enum insn_result mov(const struct privileged_insn *x)
{
	if (has_register(x->in, ZYDIS_REGCLASS_CONTROL))
		return gmem_cpl(x->cs) ? privileged_trap(x, trap_gp(0)) : control_mov_cr(x);
	if (has_register(x->in, ZYDIS_REGCLASS_DEBUG))
		return gmem_cpl(x->cs) ? privileged_trap(x, trap_gp(0)) : control_mov_dr(x);
	if (is_register(&x->in->op[0], ZYDIS_REGCLASS_SEGMENT))
		return segment_mov(x);
	return INSN_UNKNOWN;
}

static enum insn_result pop(const struct privileged_insn *x)
{
	return is_register(&x->in->op[0], ZYDIS_REGCLASS_SEGMENT) ? segment_pop(x) : INSN_UNKNOWN;
}

static enum insn_result ret(const struct privileged_insn *x)
{
	return x->in->info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? transfer_far_ret(x) : INSN_UNKNOWN;
}

static const struct {
	ZydisMnemonic mnemonic;
	bool ring0; /* #GP(0) at any other CPL, before anything else */
	enum insn_result (*execute)(const struct privileged_insn *x);
} table[] = {
	{ZYDIS_MNEMONIC_MOV, false, mov},
	{ZYDIS_MNEMONIC_POP, false, pop},
	{ZYDIS_MNEMONIC_CLI, false, control_cli},
	{ZYDIS_MNEMONIC_STI, false, control_sti},
	{ZYDIS_MNEMONIC_IRET, false, transfer_iret},
	{ZYDIS_MNEMONIC_IRETD, false, transfer_iret},
	{ZYDIS_MNEMONIC_IRETQ, false, transfer_iret},
	{ZYDIS_MNEMONIC_PUSHF, false, flags_push},
	{ZYDIS_MNEMONIC_PUSHFQ, false, flags_push},
	{ZYDIS_MNEMONIC_POPF, false, flags_pop},
	{ZYDIS_MNEMONIC_POPFQ, false, flags_pop},
	{ZYDIS_MNEMONIC_IN, false, port_in},
	{ZYDIS_MNEMONIC_OUT, false, port_out},
	{ZYDIS_MNEMONIC_INSB, false, port_ins},
	{ZYDIS_MNEMONIC_INSW, false, port_ins},
	{ZYDIS_MNEMONIC_INSD, false, port_ins},
	{ZYDIS_MNEMONIC_OUTSB, false, port_outs},
	{ZYDIS_MNEMONIC_OUTSW, false, port_outs},
	{ZYDIS_MNEMONIC_OUTSD, false, port_outs},
	{ZYDIS_MNEMONIC_HLT, true, control_hlt},
	{ZYDIS_MNEMONIC_INVLPG, true, control_invlpg},
	{ZYDIS_MNEMONIC_SWAPGS, true, control_swapgs},
	{ZYDIS_MNEMONIC_SYSRET, false, transfer_sysret},
	{ZYDIS_MNEMONIC_RET, false, ret},
	{ZYDIS_MNEMONIC_RDMSR, true, control_rdmsr},
	{ZYDIS_MNEMONIC_WRMSR, true, control_wrmsr},
	{ZYDIS_MNEMONIC_CLTS, true, control_clts},
	{ZYDIS_MNEMONIC_LMSW, true, control_lmsw},
	{ZYDIS_MNEMONIC_SMSW, false, control_smsw},
	{ZYDIS_MNEMONIC_LGDT, true, segment_load_table},
	{ZYDIS_MNEMONIC_LIDT, true, segment_load_table},
	{ZYDIS_MNEMONIC_LLDT, true, segment_lldt},
	{ZYDIS_MNEMONIC_LTR, true, segment_ltr},
	{ZYDIS_MNEMONIC_SGDT, false, segment_store_table},
	{ZYDIS_MNEMONIC_SIDT, false, segment_store_table},
	{ZYDIS_MNEMONIC_SLDT, false, segment_store_selector},
	{ZYDIS_MNEMONIC_STR, false, segment_store_selector},
	{ZYDIS_MNEMONIC_INVD, true, control_flush_cache},
	{ZYDIS_MNEMONIC_WBINVD, true, control_flush_cache},
	{ZYDIS_MNEMONIC_RDTSC, false, control_rdtsc},
	{ZYDIS_MNEMONIC_RDPMC, false, control_rdpmc},
};

enum insn_result privileged_execute(struct privileged *p, const struct insn *in, struct trap *trap)
{
	const struct privileged_insn x = {.p = p, .g = p->g, .cs = p->g->cs, .in = in, .trap = trap};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (table[i].mnemonic != in->info.mnemonic)
			continue;
		if (table[i].ring0 && gmem_cpl(x.cs))
			return privileged_trap(&x, trap_gp(0));
		return table[i].execute(&x);
	}
	return INSN_UNKNOWN;
}
