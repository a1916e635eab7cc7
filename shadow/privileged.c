#include "shadow/privileged.h"

#include <stddef.h>

#include "shadow/control.h"
#include "shadow/flags.h"
#include "shadow/port.h"
#include "shadow/segment.h"
#include "shadow/transfer.h"

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
