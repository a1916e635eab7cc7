#include "shadow/scan_rules.h"

#include <stddef.h>

#define OPCODE_MOV_FROM_SEGMENT 0x8cu
#define OPCODE_PUSH_FS 0xa0u
#define OPCODE_PUSH_GS 0xa8u

static bool reads_segment(const ZydisDecodedInstruction *in)
{
	return in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->opcode == OPCODE_MOV_FROM_SEGMENT;
}

static bool pushes_segment(const ZydisDecodedInstruction *in)
{
	return in->opcode_map == ZYDIS_OPCODE_MAP_0F && (in->opcode == OPCODE_PUSH_FS || in->opcode == OPCODE_PUSH_GS);
}

static bool is_far(const ZydisDecodedInstruction *in)
{
	return in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

#define SELECTOR "reads the monitor's selector, not the guest's", "keep what it should tell in memory"
#define DESCRIPTOR "looks into the monitor's GDT, not the guest's", "read the descriptor in memory"
#define FLAGS_PUSHED "pushes an IF that is not the guest's", "keep the state of IF in memory"
#define FLAGS_POPPED "leaves IF as it is", "use CLI and STI"
#define TABLES "shows the monitor's registers, for want of UMIP", "keep the values in memory"
#define REAL_CPU "asks the host's real CPU, not the CPU model", "take CPU facts from abi_boot.cpu"
#define REAL_XSTATE "runs by the host's CR4, not the guest's", "do without it: the CPU model does not have it"
#define REAL_BASE "moves a segment base behind the VMM's back", "use WRMSR: the CPU model has no FSGSBASE"
#define HYPERCALL "goes to the host's KVM, which answers -1", "use the ports of abi.h"
#define FAR_BRANCH "is not emulated", "use a far RET or IRETQ"
#define FAR_POINTER "is not emulated", "load the selector with MOV"
#define OLD_RETURN "is not emulated", "use SYSRET or IRETQ"

static const struct scan_rule rules[] = {
	{ZYDIS_MNEMONIC_PUSHF, NULL, RULE_PATCH, RULE_ALLOW, FLAGS_PUSHED},
	{ZYDIS_MNEMONIC_PUSHFQ, NULL, RULE_PATCH, RULE_ALLOW, FLAGS_PUSHED},
	{ZYDIS_MNEMONIC_POPF, NULL, RULE_PATCH, RULE_ALLOW, FLAGS_POPPED},
	{ZYDIS_MNEMONIC_POPFQ, NULL, RULE_PATCH, RULE_ALLOW, FLAGS_POPPED},
	{ZYDIS_MNEMONIC_MOV, reads_segment, RULE_REFUSE, RULE_REFUSE, SELECTOR},
	{ZYDIS_MNEMONIC_PUSH, pushes_segment, RULE_REFUSE, RULE_REFUSE, SELECTOR},
	{ZYDIS_MNEMONIC_LAR, NULL, RULE_REFUSE, RULE_REFUSE, DESCRIPTOR},
	{ZYDIS_MNEMONIC_LSL, NULL, RULE_REFUSE, RULE_REFUSE, DESCRIPTOR},
	{ZYDIS_MNEMONIC_VERR, NULL, RULE_REFUSE, RULE_REFUSE, DESCRIPTOR},
	{ZYDIS_MNEMONIC_VERW, NULL, RULE_REFUSE, RULE_REFUSE, DESCRIPTOR},
	{ZYDIS_MNEMONIC_SGDT, NULL, RULE_REFUSE_NO_UMIP, RULE_REFUSE_NO_UMIP, TABLES},
	{ZYDIS_MNEMONIC_SIDT, NULL, RULE_REFUSE_NO_UMIP, RULE_REFUSE_NO_UMIP, TABLES},
	{ZYDIS_MNEMONIC_SLDT, NULL, RULE_REFUSE_NO_UMIP, RULE_REFUSE_NO_UMIP, TABLES},
	{ZYDIS_MNEMONIC_STR, NULL, RULE_REFUSE_NO_UMIP, RULE_REFUSE_NO_UMIP, TABLES},
	{ZYDIS_MNEMONIC_SMSW, NULL, RULE_REFUSE_NO_UMIP, RULE_REFUSE_NO_UMIP, TABLES},
	{ZYDIS_MNEMONIC_CPUID, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_CPU},
	{ZYDIS_MNEMONIC_XGETBV, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_XSTATE},
	{ZYDIS_MNEMONIC_RDPKRU, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_XSTATE},
	{ZYDIS_MNEMONIC_WRPKRU, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_XSTATE},
	{ZYDIS_MNEMONIC_RDFSBASE, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_XSTATE},
	{ZYDIS_MNEMONIC_RDGSBASE, NULL, RULE_REFUSE_NATIVE, RULE_ALLOW, REAL_XSTATE},
	{ZYDIS_MNEMONIC_WRFSBASE, NULL, RULE_REFUSE_NATIVE, RULE_REFUSE_NATIVE, REAL_BASE},
	{ZYDIS_MNEMONIC_WRGSBASE, NULL, RULE_REFUSE_NATIVE, RULE_REFUSE_NATIVE, REAL_BASE},
	{ZYDIS_MNEMONIC_VMCALL, NULL, RULE_REFUSE, RULE_ALLOW, HYPERCALL},
	{ZYDIS_MNEMONIC_VMMCALL, NULL, RULE_REFUSE, RULE_ALLOW, HYPERCALL},
	{ZYDIS_MNEMONIC_CALL, is_far, RULE_REFUSE, RULE_REFUSE, FAR_BRANCH},
	{ZYDIS_MNEMONIC_JMP, is_far, RULE_REFUSE, RULE_REFUSE, FAR_BRANCH},
	{ZYDIS_MNEMONIC_LSS, NULL, RULE_REFUSE, RULE_REFUSE, FAR_POINTER},
	{ZYDIS_MNEMONIC_LFS, NULL, RULE_REFUSE, RULE_REFUSE, FAR_POINTER},
	{ZYDIS_MNEMONIC_LGS, NULL, RULE_REFUSE, RULE_REFUSE, FAR_POINTER},
	{ZYDIS_MNEMONIC_SYSEXIT, NULL, RULE_REFUSE, RULE_ALLOW, OLD_RETURN},
};

const struct scan_rule *scan_rule_find(const ZydisDecodedInstruction *in)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i].mnemonic == in->mnemonic)
			return !rules[i].is_meant || rules[i].is_meant(in) ? &rules[i] : NULL;
	return NULL;
}

bool scan_rule_asks_host(enum scan_rule_verdict v)
{
	return v == RULE_REFUSE_NATIVE || v == RULE_REFUSE_NO_UMIP;
}

enum scan_rule_verdict scan_rule_decide(enum scan_rule_verdict v, const struct scan_host *host)
{
	if (v == RULE_REFUSE_NATIVE)
		return host->native ? RULE_REFUSE : RULE_ALLOW;
	if (v == RULE_REFUSE_NO_UMIP)
		return host->umip ? RULE_ALLOW : RULE_REFUSE;
	return v;
}
