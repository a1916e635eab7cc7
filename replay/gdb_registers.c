#include "replay/gdb_registers.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vmm/ensure.h"

#define FOP_BITS 0x7ffu
#define MXCSR_MASK_DEFAULT 0xffbfu /* where the mask is 0 (SDM vol. 1, 11.6.6) */

/* What POPF at CPL 0 changes: CF PF AF ZF SF TF IF DF OF IOPL NT AC ID (SDM vol. 2, POPF). RF too, as IRET would. */
#define FLAGS_WRITABLE 0x257fd5u

#define AT(member, name_, type_, group_, feature_, rule_, bits_)                                                                   \
	{.name = name_, .type = type_, .group = group_, .feature = GDB_FEATURE_##feature_, .rule = GDB_REGISTER_##rule_,           \
	 .bits = bits_, .size = sizeof(((struct cpu_state *)NULL)->member), .offset = offsetof(struct cpu_state, member)}
#define XSAVED(at_, size_, name_, type_, group_, feature_, rule_, bits_)                                                           \
	{.name = name_, .type = type_, .group = group_, .feature = GDB_FEATURE_##feature_, .rule = GDB_REGISTER_##rule_,           \
	 .bits = bits_, .size = size_, .offset = offsetof(struct cpu_state, xsave) + (at_)}
#define GPR(index, name, type, rule) AT(gpr[index], name, type, NULL, CORE, rule, 64)
#define SELECTOR(index, name) AT(segment[index].selector, name, "int32", NULL, CORE, FIXED, 32)
#define ST(i) XSAVED(XSAVE_ST + 16 * i, 10, "st" #i, "i387_ext", NULL, CORE, PLAIN, 80)
#define X87(at, size, name, rule) XSAVED(at, size, name, "int", "float", CORE, rule, 32)
#define XMM(i) XSAVED(XSAVE_XMM + 16 * i, 16, "xmm" #i, "vec128", NULL, SSE, PLAIN, 128)
#define CONTROL(member, name, type) AT(member, name, type, "general", CONTROL, FIXED, 64)

const struct gdb_register gdb_registers[] = {
	GPR(CPU_RAX, "rax", "int64", GPR),
	GPR(CPU_RBX, "rbx", "int64", GPR),
	GPR(CPU_RCX, "rcx", "int64", GPR),
	GPR(CPU_RDX, "rdx", "int64", GPR),
	GPR(CPU_RSI, "rsi", "int64", GPR),
	GPR(CPU_RDI, "rdi", "int64", GPR),
	GPR(CPU_RBP, "rbp", "data_ptr", GPR),
	GPR(CPU_RSP, "rsp", "data_ptr", GPR),
	GPR(CPU_R8, "r8", "int64", PLAIN),
	GPR(CPU_R9, "r9", "int64", PLAIN),
	GPR(CPU_R10, "r10", "int64", PLAIN),
	GPR(CPU_R11, "r11", "int64", PLAIN),
	GPR(CPU_R12, "r12", "int64", PLAIN),
	GPR(CPU_R13, "r13", "int64", PLAIN),
	GPR(CPU_R14, "r14", "int64", PLAIN),
	GPR(CPU_R15, "r15", "int64", PLAIN),
	AT(rip, "rip", "code_ptr", NULL, CORE, RIP, 64),
	{.name = "eflags", .type = "i386_eflags", .feature = GDB_FEATURE_CORE, .rule = GDB_REGISTER_FLAGS, .bits = 32, .size = 4,
	 .offset = offsetof(struct cpu_state, rflags)},
	SELECTOR(CPU_CS, "cs"),
	SELECTOR(CPU_SS, "ss"),
	SELECTOR(CPU_DS, "ds"),
	SELECTOR(CPU_ES, "es"),
	SELECTOR(CPU_FS, "fs"),
	SELECTOR(CPU_GS, "gs"),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	X87(XSAVE_FCW, 2, "fctrl", PLAIN),
	X87(XSAVE_FSW, 2, "fstat", PLAIN),
	X87(XSAVE_FTW, 2, "ftag", TAGS),
	X87(XSAVE_FCS, 2, "fiseg", PLAIN),
	X87(XSAVE_FIP, 4, "fioff", PLAIN),
	X87(XSAVE_FDS, 2, "foseg", PLAIN),
	X87(XSAVE_FDP, 4, "fooff", PLAIN),
	X87(XSAVE_FOP, 2, "fop", OPCODE),
	XMM(0),
	XMM(1),
	XMM(2),
	XMM(3),
	XMM(4),
	XMM(5),
	XMM(6),
	XMM(7),
	XMM(8),
	XMM(9),
	XMM(10),
	XMM(11),
	XMM(12),
	XMM(13),
	XMM(14),
	XMM(15),
	XSAVED(XSAVE_MXCSR, 4, "mxcsr", "i386_mxcsr", "vector", SSE, MXCSR, 32),
	AT(segment[CPU_FS].base, "fs_base", "int64", NULL, SEGMENTS, ADDRESS, 64),
	AT(segment[CPU_GS].base, "gs_base", "int64", NULL, SEGMENTS, ADDRESS, 64),
	CONTROL(cr0, "cr0", "x86_cr0"),
	CONTROL(cr2, "cr2", "data_ptr"),
	CONTROL(cr3, "cr3", "int64"),
	CONTROL(cr4, "cr4", "x86_cr4"),
	CONTROL(cr8, "cr8", "int64"),
	CONTROL(efer, "efer", "x86_efer"),
	CONTROL(msr[CPU_MSR_KERNEL_GS_BASE], "k_gs_base", "int64"),
	CONTROL(gdt.base, "gdt_base", "data_ptr"),
	CONTROL(idt.base, "idt_base", "data_ptr"),
	CONTROL(segment[CPU_TR].base, "tr_base", "data_ptr"),
};

const unsigned int gdb_register_count = sizeof(gdb_registers) / sizeof(*gdb_registers);

static uint16_t get_16(const uint8_t *from)
{
	uint16_t n;

	memcpy(&n, from, sizeof(n));
	return n;
}

static uint32_t get_32(const uint8_t *from)
{
	uint32_t n;

	memcpy(&n, from, sizeof(n));
	return n;
}

static uint64_t get_64(const uint8_t *from)
{
	uint64_t n;

	memcpy(&n, from, sizeof(n));
	return n;
}

static bool in_64_bit_code(const struct cpu_state *cs)
{
	return (cs->efer & EFER_LMA) && (cs->segment[CPU_CS].attributes & CPU_SEGMENT_LONG);
}

static bool is_canonical(uint64_t gva)
{
	return (uint64_t)((int64_t)(gva << 16) >> 16) == gva;
}

/* What the CPU found in a register that is not empty (SDM vol. 1, 8.1.7). */
static unsigned int tag_of(const uint8_t st[10])
{
	enum { VALID, ZERO, SPECIAL };
	uint64_t significand = get_64(st);
	unsigned int exponent = get_16(st + 8) & 0x7fff;

	if (!exponent)
		return significand ? SPECIAL : ZERO;
	return exponent == 0x7fff || !(significand >> 63) ? SPECIAL : VALID;
}

/* Tags go by the physical register, the registers in the area by their distance from the top of the stack. */
static uint16_t full_tags(const uint8_t xsave[XSAVE_SIZE])
{
	unsigned int top = get_16(xsave + XSAVE_FSW) >> 11 & 7, tags = 0;

	for (unsigned int i = 0; i < 8; i++) {
		bool full = xsave[XSAVE_FTW] >> i & 1;

		tags |= (full ? tag_of(xsave + XSAVE_ST + 16 * ((i - top) & 7)) : 3u) << 2 * i;
	}
	return (uint16_t)tags;
}

static uint16_t short_tags(uint16_t tags)
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < 8; i++)
		bits |= (unsigned int)((tags >> 2 * i & 3) != 3) << i;
	return (uint16_t)bits;
}

unsigned int gdb_register_get(const struct cpu_state *cs, unsigned int n, uint8_t value[GDB_REGISTER_BYTES_MAX])
{
	const struct gdb_register *r = &gdb_registers[n];
	uint16_t word;

	ensure(n < gdb_register_count);
	memset(value, 0, GDB_REGISTER_BYTES_MAX);
	memcpy(value, (const uint8_t *)cs + r->offset, r->size);
	if ((r->rule == GDB_REGISTER_GPR || r->rule == GDB_REGISTER_RIP) && !in_64_bit_code(cs))
		memset(value + 4, 0, 4);
	if (r->rule == GDB_REGISTER_TAGS || r->rule == GDB_REGISTER_OPCODE) {
		word = r->rule == GDB_REGISTER_TAGS ? full_tags(cs->xsave) : get_16(value) & FOP_BITS;
		memcpy(value, &word, sizeof(word));
	}
	return r->bits / 8u;
}

/* Each turns what gdb wants into what is stored in the place of `old`. Returns 0, or -EINVAL if the CPU cannot have that, or -EPERM. */
typedef int fit_value(const struct cpu_state *cs, const uint8_t *old, uint8_t *value);

static int fit_gpr(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	if (!in_64_bit_code(cs))
		memcpy(value + 4, old + 4, 4);
	return 0;
}

static int fit_address(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	return is_canonical(get_64(value)) ? 0 : -EINVAL;
}

static int fit_rip(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	fit_gpr(cs, old, value);
	return fit_address(cs, old, value);
}

static int fit_flags(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	uint32_t flags = (get_32(value) & FLAGS_WRITABLE) | (get_32(old) & ~FLAGS_WRITABLE);

	memcpy(value, &flags, sizeof(flags));
	return 0;
}

static int fit_tags(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	uint16_t tags = short_tags(get_16(value));

	memcpy(value, &tags, sizeof(tags));
	return 0;
}

static int fit_opcode(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	uint16_t opcode = get_16(value) & FOP_BITS;

	memcpy(value, &opcode, sizeof(opcode));
	return 0;
}

static int fit_mxcsr(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	uint32_t mask = get_32(cs->xsave + XSAVE_MXCSR_MASK);

	return get_32(value) & ~(mask ? mask : MXCSR_MASK_DEFAULT) ? -EINVAL : 0;
}

static int fit_fixed(const struct cpu_state *cs, const uint8_t *old, uint8_t *value)
{
	return -EPERM;
}

static fit_value *const fits[] = {
	[GDB_REGISTER_PLAIN] = NULL,
	[GDB_REGISTER_GPR] = fit_gpr,
	[GDB_REGISTER_RIP] = fit_rip,
	[GDB_REGISTER_ADDRESS] = fit_address,
	[GDB_REGISTER_FLAGS] = fit_flags,
	[GDB_REGISTER_FIXED] = fit_fixed,
	[GDB_REGISTER_TAGS] = fit_tags,
	[GDB_REGISTER_OPCODE] = fit_opcode,
	[GDB_REGISTER_MXCSR] = fit_mxcsr,
};

int gdb_register_set(struct cpu_state *cs, unsigned int n, const uint8_t *value)
{
	const struct gdb_register *r = &gdb_registers[n];
	uint8_t old[GDB_REGISTER_BYTES_MAX], wanted[GDB_REGISTER_BYTES_MAX] = {0}, *at = (uint8_t *)cs + r->offset;
	unsigned int size = gdb_register_get(cs, n, old);
	int err = 0;

	if (!memcmp(old, value, size))
		return 0;
	memcpy(wanted, value, size);
	if (fits[r->rule])
		err = fits[r->rule](cs, at, wanted);
	if (err == 0)
		memcpy(at, wanted, r->size);
	return err;
}
