#include "shadow/control.h"

#include <stddef.h>

#include "shadow/rflags.h"
#include "vmm/cpu_state.h"
#include "vmm/walk.h"

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR0_MSW 0xfull
#define CR3_RESERVED ~(PTE_ADDR | 0xfffull)
#define CR8_RESERVED ~0xfull
#define DR6_FIXED 0xffff0ff0ull
#define DR6_WRITABLE 0xe00full
#define DR7_FIXED 0x400ull
#define DR7_WRITABLE 0xffff2bffull
#define DR7_GD (1ull << 13)
#define DR6_BD (1ull << 13)
#define UPPER_HALF 0xffffffff00000000ull
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define MSR_EFER 0xc0000080u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u

static enum insn_result gp(const struct privileged_insn *x)
{
	return privileged_trap(x, trap_gp(0));
}

/* Other bits of the upper half fault, unknown ones of the lower half are ignored; ET is always 1. */
static enum insn_result set_cr0(const struct privileged_insn *x, uint64_t value)
{
	if (value & UPPER_HALF || ((value & CR0_NW) && !(value & CR0_CD)) || ((value & CR0_PG) && !(value & CR0_PE)))
		return gp(x);
	/* 64-bit code may not switch paging off (SDM vol. 2, MOV CR). */
	if (!(value & CR0_PG))
		return gp(x);
	x->cs->cr0 = (value & CR0_KNOWN) | CR0_ET;
	return privileged_done(x, PRIVILEGED_PAGING);
}

static enum insn_result set_cr2(const struct privileged_insn *x, uint64_t value)
{
	x->cs->cr2 = value;
	return privileged_done(x, 0);
}

static enum insn_result set_cr3(const struct privileged_insn *x, uint64_t value)
{
	if (value & CR3_RESERVED)
		return gp(x);
	x->cs->cr3 = value;
	return privileged_done(x, PRIVILEGED_CR3);
}

static enum insn_result set_cr4(const struct privileged_insn *x, uint64_t value)
{
	if (value & ~x->p->cr4_allowed || !(value & CR4_PAE))
		return gp(x);
	x->cs->cr4 = value;
	return privileged_done(x, PRIVILEGED_PAGING | PRIVILEGED_CR3);
}

static enum insn_result set_cr8(const struct privileged_insn *x, uint64_t value)
{
	if (value & CR8_RESERVED)
		return gp(x);
	x->cs->cr8 = value;
	return privileged_done(x, 0);
}

static const struct {
	ZydisRegister reg;
	size_t offset; /* in struct cpu_state */
	enum insn_result (*set)(const struct privileged_insn *x, uint64_t value);
} control_registers[] = {
	{ZYDIS_REGISTER_CR0, offsetof(struct cpu_state, cr0), set_cr0},
	{ZYDIS_REGISTER_CR2, offsetof(struct cpu_state, cr2), set_cr2},
	{ZYDIS_REGISTER_CR3, offsetof(struct cpu_state, cr3), set_cr3},
	{ZYDIS_REGISTER_CR4, offsetof(struct cpu_state, cr4), set_cr4},
	{ZYDIS_REGISTER_CR8, offsetof(struct cpu_state, cr8), set_cr8},
};

enum insn_result control_mov_cr(const struct privileged_insn *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	bool load = ZydisRegisterGetClass(op[0].reg.value) == ZYDIS_REGCLASS_CONTROL;
	ZydisRegister cr = op[load ? 0 : 1].reg.value, gpr = op[load ? 1 : 0].reg.value;

	for (size_t i = 0; i < sizeof(control_registers) / sizeof(*control_registers); i++) {
		if (control_registers[i].reg != cr)
			continue;
		if (load)
			return control_registers[i].set(x, insn_read_reg(x->cs, gpr));
		insn_write_reg(x->cs, gpr, *(const uint64_t *)((const char *)x->cs + control_registers[i].offset));
		return privileged_done(x, 0);
	}
	return privileged_trap(x, trap_ud());
}

/* DR4 and DR5 are other names for DR6 and DR7 unless CR4.DE is set. Returns -1 for #UD. */
static int debug_number(const struct cpu_state *cs, ZydisRegister reg)
{
	int n = reg - ZYDIS_REGISTER_DR0;

	if (n > 7 || ((n == 4 || n == 5) && (cs->cr4 & CR4_DE)))
		return -1;
	return n == 4 || n == 5 ? n + 2 : n;
}

static uint64_t *debug_register(struct cpu_state *cs, int n)
{
	return n == 6 ? &cs->dr6 : n == 7 ? &cs->dr7 : &cs->dr[n];
}

static enum insn_result set_debug(const struct privileged_insn *x, int n, uint64_t value)
{
	if (n >= 6 && (value & UPPER_HALF))
		return gp(x);
	if (n == 6)
		value = (value & DR6_WRITABLE) | DR6_FIXED;
	if (n == 7)
		value = (value & DR7_WRITABLE) | DR7_FIXED;
	*debug_register(x->cs, n) = value;
	return privileged_done(x, PRIVILEGED_DEBUG);
}

enum insn_result control_mov_dr(const struct privileged_insn *x)
{
	const ZydisDecodedOperand *op = x->in->op;
	bool load = ZydisRegisterGetClass(op[0].reg.value) == ZYDIS_REGCLASS_DEBUG;
	int n = debug_number(x->cs, op[load ? 0 : 1].reg.value);

	if (n < 0)
		return privileged_trap(x, trap_ud());
	if (x->cs->dr7 & DR7_GD) {
		x->cs->dr6 |= DR6_BD;
		x->cs->dr7 &= ~DR7_GD;
		x->p->effects |= PRIVILEGED_DEBUG;
		return privileged_trap(x, (struct trap){.vector = TRAP_DB});
	}
	if (load)
		return set_debug(x, n, insn_read_reg(x->cs, op[1].reg.value));
	insn_write_reg(x->cs, op[0].reg.value, *debug_register(x->cs, n));
	return privileged_done(x, 0);
}

enum insn_result control_clts(const struct privileged_insn *x)
{
	x->cs->cr0 &= ~CR0_TS;
	return privileged_done(x, PRIVILEGED_PAGING);
}

/* Sets PE to TS; PE cannot be cleared. */
enum insn_result control_lmsw(const struct privileged_insn *x)
{
	uint16_t value;
	enum insn_result r = privileged_read16(x, &x->in->op[0], &value);

	if (r != INSN_DONE)
		return r;
	x->cs->cr0 = (x->cs->cr0 & ~(CR0_MSW & ~CR0_PE)) | (value & CR0_MSW);
	return privileged_done(x, PRIVILEGED_PAGING);
}

enum insn_result control_smsw(const struct privileged_insn *x)
{
	enum insn_result r;

	if ((x->cs->cr4 & CR4_UMIP) && gmem_cpl(x->cs))
		return gp(x);
	r = privileged_write16(x, &x->in->op[0], x->cs->cr0);
	return r == INSN_DONE ? privileged_done(x, 0) : r;
}

static enum insn_result set_efer(const struct privileged_insn *x, uint64_t value)
{
	uint64_t old = x->cs->efer;

	if (value & ~EFER_KNOWN || ((value ^ old) & EFER_LME))
		return gp(x);
	x->cs->efer = (value & ~EFER_LMA) | (old & EFER_LMA);
	return privileged_done(x, PRIVILEGED_PAGING);
}

static enum insn_result set_base(const struct privileged_insn *x, enum cpu_segment_name name, uint64_t value)
{
	if (!privileged_canonical(value))
		return gp(x);
	x->cs->segment[name].base = value;
	return privileged_done(x, PRIVILEGED_SEGMENTS);
}

/* Memory types 2 and 3 are reserved, as is all above 7 (SDM vol. 3, 11.12.2). */
static bool valid_pat(uint64_t value)
{
	for (unsigned int i = 0; i < 64; i += 8)
		if ((value >> i & 0xff) > 7 || (value >> i & 0xfe) == 2)
			return false;
	return true;
}

static bool valid_msr(enum cpu_msr msr, uint64_t value)
{
	if (msr == CPU_MSR_LSTAR || msr == CPU_MSR_CSTAR || msr == CPU_MSR_KERNEL_GS_BASE)
		return privileged_canonical(value);
	return msr != CPU_MSR_PAT || valid_pat(value);
}

/* The CPU model has no SYSENTER in long mode: its addresses may be anything, and are kept canonical as KVM keeps them. */
static uint64_t kept_msr(enum cpu_msr msr, uint64_t value)
{
	bool address = msr == CPU_MSR_SYSENTER_ESP || msr == CPU_MSR_SYSENTER_EIP;

	return address ? (uint64_t)((int64_t)(value << 16) >> 16) : value;
}

static int find_msr(uint32_t number)
{
	for (int i = 0; i < CPU_MSR_COUNT; i++)
		if (cpu_msr_number[i] == number)
			return i;
	return -1;
}

enum insn_result control_wrmsr(const struct privileged_insn *x)
{
	uint32_t number = (uint32_t)x->cs->gpr[CPU_RCX];
	uint64_t value = (x->cs->gpr[CPU_RDX] << 32) | (uint32_t)x->cs->gpr[CPU_RAX];
	int msr = find_msr(number);

	if (number == MSR_EFER)
		return set_efer(x, value);
	if (number == MSR_FS_BASE || number == MSR_GS_BASE)
		return set_base(x, number == MSR_FS_BASE ? CPU_FS : CPU_GS, value);
	if (msr < 0 || !valid_msr((enum cpu_msr)msr, value))
		return gp(x);
	if (msr == CPU_MSR_TSC)
		return x->p->write_tsc(x->p, value) ? privileged_done(x, 0) : INSN_ENDED;
	x->cs->msr[msr] = kept_msr((enum cpu_msr)msr, value);
	return privileged_done(x, 0);
}

static enum insn_result put_edx_eax(const struct privileged_insn *x, uint64_t value)
{
	x->cs->gpr[CPU_RAX] = (uint32_t)value;
	x->cs->gpr[CPU_RDX] = value >> 32;
	return privileged_done(x, 0);
}

enum insn_result control_rdmsr(const struct privileged_insn *x)
{
	uint32_t number = (uint32_t)x->cs->gpr[CPU_RCX];
	int msr = find_msr(number);
	uint64_t tsc;

	if (number == MSR_EFER)
		return put_edx_eax(x, x->cs->efer);
	if (number == MSR_FS_BASE || number == MSR_GS_BASE)
		return put_edx_eax(x, x->cs->segment[number == MSR_FS_BASE ? CPU_FS : CPU_GS].base);
	if (msr < 0)
		return gp(x);
	if (msr != CPU_MSR_TSC)
		return put_edx_eax(x, x->cs->msr[msr]);
	return x->p->read_tsc(x->p, &tsc) ? put_edx_eax(x, tsc) : INSN_ENDED;
}

enum insn_result control_rdtsc(const struct privileged_insn *x)
{
	uint64_t tsc;

	if ((x->cs->cr4 & CR4_TSD) && gmem_cpl(x->cs))
		return gp(x);
	return x->p->read_tsc(x->p, &tsc) ? put_edx_eax(x, tsc) : INSN_ENDED;
}

/* The model has no performance counters. */
enum insn_result control_rdpmc(const struct privileged_insn *x)
{
	return gp(x);
}

static bool may_set_if(const struct cpu_state *cs)
{
	return gmem_cpl(cs) <= (cs->rflags & RFLAGS_IOPL) >> 12;
}

enum insn_result control_cli(const struct privileged_insn *x)
{
	if (!may_set_if(x->cs))
		return gp(x);
	x->cs->rflags &= ~RFLAGS_IF;
	return privileged_done(x, 0);
}

enum insn_result control_sti(const struct privileged_insn *x)
{
	bool was_off = !(x->cs->rflags & RFLAGS_IF);
	enum insn_result r;

	if (!may_set_if(x->cs))
		return gp(x);
	x->cs->rflags |= RFLAGS_IF;
	r = privileged_done(x, 0);
	x->cs->interrupt_shadow = was_off;
	return r;
}

enum insn_result control_hlt(const struct privileged_insn *x)
{
	return privileged_done(x, PRIVILEGED_HALT);
}

enum insn_result control_invlpg(const struct privileged_insn *x)
{
	struct trap ignored;

	/* An address that is not canonical is no fault: there is nothing to invalidate. */
	if (!insn_address(x->cs, x->in, &x->in->op[0], 1, &x->p->invlpg_gva, &ignored))
		return privileged_done(x, 0);
	return privileged_done(x, PRIVILEGED_INVLPG);
}

enum insn_result control_flush_cache(const struct privileged_insn *x)
{
	return privileged_done(x, 0);
}

enum insn_result control_swapgs(const struct privileged_insn *x)
{
	uint64_t base = x->cs->segment[CPU_GS].base;

	x->cs->segment[CPU_GS].base = x->cs->msr[CPU_MSR_KERNEL_GS_BASE];
	x->cs->msr[CPU_MSR_KERNEL_GS_BASE] = base;
	return privileged_done(x, PRIVILEGED_SEGMENTS);
}
