#include "tests/unit/shadow_sample.h"

#include <stdio.h>
#include <string.h>

#include "shadow/rflags.h"
#include "vmm/mem.h"

#define LOGIC RFLAGS_AF
#define BIT (RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF)
#define ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define WINDOW_END (SAMPLE_WINDOW + SAMPLE_WINDOW_PAGES * PAGE_SIZE)
#define CODE_END (SAMPLE_CODE + SAMPLE_CODE_PAGES * PAGE_SIZE)

#define CANONICAL_END (1ull << 47)

#define OP1(a) .opcode = {a}, .opcode_size = 1
#define OP2(a, b) .opcode = {a, b}, .opcode_size = 2
#define BYTE .size = 1, .fixed = true
#define BY_REG .digit = -1
#define BY_DIGIT(n) .digit = n

#define ALU(text, n, may_lock, w, u) \
	{text " m8,r8", OP1(n), BY_REG, BYTE, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,r", OP1(n + 1), BY_REG, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " r8,m8", OP1(n + 2), BY_REG, BYTE, .undefined = u}, \
	{text " r,m", OP1(n + 3), BY_REG, .undefined = u}, \
	{text " m8,imm8", OP1(0x80), BY_DIGIT(n / 8), BYTE, .imm = IMM_8, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,imm", OP1(0x81), BY_DIGIT(n / 8), .imm = IMM_Z, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,imm8", OP1(0x83), BY_DIGIT(n / 8), .imm = IMM_8, .lock = may_lock, .writes = w, .undefined = u}

#define UNARY(text, low, n, u) \
	{text " m8", OP1(low), BY_DIGIT(n), BYTE, .lock = true, .writes = true, .undefined = u}, \
	{text " m", OP1(low + 1), BY_DIGIT(n), .lock = true, .writes = true, .undefined = u}

#define SHIFT(text, n) \
	{text " m8,imm8", OP1(0xc0), BY_DIGIT(n), BYTE, .imm = IMM_8, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,imm8", OP1(0xc1), BY_DIGIT(n), .imm = IMM_8, .kind = KIND_SHIFT, .writes = true}, \
	{text " m8,1", OP1(0xd0), BY_DIGIT(n), BYTE, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,1", OP1(0xd1), BY_DIGIT(n), .kind = KIND_SHIFT, .writes = true}, \
	{text " m8,cl", OP1(0xd2), BY_DIGIT(n), BYTE, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,cl", OP1(0xd3), BY_DIGIT(n), .kind = KIND_SHIFT, .writes = true}

#define BITS(text, low, n, w) \
	{text " m,r", OP2(0x0f, low), BY_REG, .kind = KIND_BIT, .lock = w, .writes = w, .undefined = BIT}, \
	{text " m,imm8", OP2(0x0f, 0xba), BY_DIGIT(n), .imm = IMM_8, .lock = w, .writes = w, .undefined = BIT}

#define CONDITION(n) \
	{"setcc m8 " #n, OP2(0x0f, 0x90 + n), BY_DIGIT(0), BYTE, .writes = true}, \
	{"cmovcc r,m " #n, OP2(0x0f, 0x40 + n), BY_REG}

#define STRING(text, low, k) \
	{text "b", OP1(low), .no_modrm = true, BYTE, .kind = k}, \
	{text, OP1(low + 1), .no_modrm = true, .kind = k}, \
	{"rep " text "b", OP1(low), .no_modrm = true, BYTE, .kind = k, .prefix = 0xf3}, \
	{"rep " text, OP1(low + 1), .no_modrm = true, .kind = k, .prefix = 0xf3}, \
	{"repne " text, OP1(low + 1), .no_modrm = true, .kind = k, .prefix = 0xf2}

#define SSE(text, p, op, bytes, must_align, w) \
	{text, OP2(0x0f, op), BY_REG, .prefix = p, .size = bytes, .fixed = true, .kind = KIND_SSE, .memory_only = true, \
	 .aligned = must_align, .writes = w}

const struct sample_form sample_forms[] = {
	ALU("add", 0x00, true, true, 0),
	ALU("or", 0x08, true, true, LOGIC),
	ALU("adc", 0x10, true, true, 0),
	ALU("sbb", 0x18, true, true, 0),
	ALU("and", 0x20, true, true, LOGIC),
	ALU("sub", 0x28, true, true, 0),
	ALU("xor", 0x30, true, true, LOGIC),
	ALU("cmp", 0x38, false, false, 0),
	{"test m8,r8", OP1(0x84), BY_REG, BYTE, .undefined = LOGIC},
	{"test m,r", OP1(0x85), BY_REG, .undefined = LOGIC},
	{"test m8,imm8", OP1(0xf6), BY_DIGIT(0), BYTE, .imm = IMM_8, .undefined = LOGIC},
	{"test m,imm", OP1(0xf7), BY_DIGIT(0), .imm = IMM_Z, .undefined = LOGIC},
	UNARY("not", 0xf6, 2, 0),
	UNARY("neg", 0xf6, 3, 0),
	UNARY("inc", 0xfe, 0, 0),
	UNARY("dec", 0xfe, 1, 0),
	SHIFT("shl", 4),
	SHIFT("shr", 5),
	SHIFT("sal", 6),
	SHIFT("sar", 7),
	BITS("bt", 0xa3, 4, false),
	BITS("bts", 0xab, 5, true),
	BITS("btr", 0xb3, 6, true),
	BITS("btc", 0xbb, 7, true),
	{"mov m8,r8", OP1(0x88), BY_REG, BYTE, .writes = true},
	{"mov m,r", OP1(0x89), BY_REG, .writes = true},
	{"mov r8,m8", OP1(0x8a), BY_REG, BYTE},
	{"mov r,m", OP1(0x8b), BY_REG},
	{"mov m8,imm8", OP1(0xc6), BY_DIGIT(0), BYTE, .imm = IMM_8, .writes = true},
	{"mov m,imm", OP1(0xc7), BY_DIGIT(0), .imm = IMM_Z, .writes = true},
	{"mov al,moffs", OP1(0xa0), .no_modrm = true, BYTE, .kind = KIND_MOFFS},
	{"mov rax,moffs", OP1(0xa1), .no_modrm = true, .kind = KIND_MOFFS},
	{"mov moffs,al", OP1(0xa2), .no_modrm = true, BYTE, .kind = KIND_MOFFS, .writes = true},
	{"mov moffs,rax", OP1(0xa3), .no_modrm = true, .kind = KIND_MOFFS, .writes = true},
	{"movnti m,r", OP2(0x0f, 0xc3), BY_REG, .memory_only = true, .writes = true},
	{"movzx r,m8", OP2(0x0f, 0xb6), BY_REG, .size = 1},
	{"movzx r,m16", OP2(0x0f, 0xb7), BY_REG, .size = 2},
	{"movsx r,m8", OP2(0x0f, 0xbe), BY_REG, .size = 1},
	{"movsx r,m16", OP2(0x0f, 0xbf), BY_REG, .size = 2},
	{"movsxd r,m32", OP1(0x63), BY_REG, .size = 4},
	{"xchg m8,r8", OP1(0x86), BY_REG, BYTE, .lock = true, .writes = true},
	{"xchg m,r", OP1(0x87), BY_REG, .lock = true, .writes = true},
	{"xadd m8,r8", OP2(0x0f, 0xc0), BY_REG, BYTE, .lock = true, .writes = true},
	{"xadd m,r", OP2(0x0f, 0xc1), BY_REG, .lock = true, .writes = true},
	{"cmpxchg m8,r8", OP2(0x0f, 0xb0), BY_REG, BYTE, .lock = true, .kind = KIND_CMPXCHG, .writes = true},
	{"cmpxchg m,r", OP2(0x0f, 0xb1), BY_REG, .lock = true, .kind = KIND_CMPXCHG, .writes = true},
	{"cmpxchg8b m", OP2(0x0f, 0xc7), BY_DIGIT(1), .memory_only = true, .lock = true, .kind = KIND_CMPXCHG_PAIR,
	 .writes = true},
	{"push m", OP1(0xff), BY_DIGIT(6), .kind = KIND_PUSH},
	{"push r", OP1(0x50), .no_modrm = true, .kind = KIND_PUSH},
	{"push imm8", OP1(0x6a), .no_modrm = true, .imm = IMM_8, .kind = KIND_PUSH},
	{"push imm", OP1(0x68), .no_modrm = true, .imm = IMM_Z, .kind = KIND_PUSH},
	{"pop m", OP1(0x8f), BY_DIGIT(0), .kind = KIND_POP, .writes = true},
	{"pop r", OP1(0x58), .no_modrm = true, .kind = KIND_POP},
	{"call rel32", OP1(0xe8), .no_modrm = true, .size = 8, .fixed = true, .kind = KIND_CALL_RELATIVE},
	{"call m", OP1(0xff), BY_DIGIT(2), .size = 8, .fixed = true, .kind = KIND_CALL},
	STRING("stos", 0xaa, KIND_STOS),
	STRING("lods", 0xac, KIND_LODS),
	STRING("movs", 0xa4, KIND_MOVS),
	CONDITION(0), CONDITION(1), CONDITION(2), CONDITION(3), CONDITION(4), CONDITION(5), CONDITION(6), CONDITION(7),
	CONDITION(8), CONDITION(9), CONDITION(10), CONDITION(11), CONDITION(12), CONDITION(13), CONDITION(14),
	CONDITION(15),
	SSE("movups x,m", 0, 0x10, 16, false, false),
	SSE("movups m,x", 0, 0x11, 16, false, true),
	SSE("movupd x,m", 0x66, 0x10, 16, false, false),
	SSE("movupd m,x", 0x66, 0x11, 16, false, true),
	SSE("movaps x,m", 0, 0x28, 16, true, false),
	SSE("movaps m,x", 0, 0x29, 16, true, true),
	SSE("movapd x,m", 0x66, 0x28, 16, true, false),
	SSE("movapd m,x", 0x66, 0x29, 16, true, true),
	SSE("movntps m,x", 0, 0x2b, 16, true, true),
	SSE("movntpd m,x", 0x66, 0x2b, 16, true, true),
	SSE("movdqa x,m", 0x66, 0x6f, 16, true, false),
	SSE("movdqa m,x", 0x66, 0x7f, 16, true, true),
	SSE("movdqu x,m", 0xf3, 0x6f, 16, false, false),
	SSE("movdqu m,x", 0xf3, 0x7f, 16, false, true),
	SSE("movntdq m,x", 0x66, 0xe7, 16, true, true),
	SSE("movq x,m", 0xf3, 0x7e, 8, false, false),
	SSE("movq m,x", 0x66, 0xd6, 8, false, true),
	/* With REX.W these two are MOVQ. */
	{"movd x,m", OP2(0x0f, 0x6e), BY_REG, .prefix = 0x66, .kind = KIND_SSE, .memory_only = true},
	{"movd m,x", OP2(0x0f, 0x7e), BY_REG, .prefix = 0x66, .kind = KIND_SSE, .memory_only = true, .writes = true},
};

const size_t sample_form_count = sizeof(sample_forms) / sizeof(*sample_forms);

/* A sample on its way: decisions, and parts of the encoding. */
struct making {
	struct sample *s;
	const struct sample_form *f;
	enum sample_range range;
	struct random *r;
	unsigned int width;	/* operand size, bytes */
	bool address32;
	uint8_t segment;	/* prefix, or 0 */
	uint64_t segment_base;
	uint8_t rex;
	bool need_rex;
	uint8_t tail[16];	/* ModRM and what follows */
	unsigned int tail_size;
	unsigned int patch;	/* where in the tail the relative address is, if patch_to */
	uint64_t patch_to;
	uint32_t taken;		/* registers whose value is settled: bits by number */
};

static bool chance(struct random *r, unsigned int percent)
{
	return random_below(r, 100) < percent;
}

/* Values at the edges, small ones, and any. */
static uint64_t interesting(struct random *r)
{
	switch (random_below(r, 4)) {
	case 0:
		return random_below(r, 64);
	case 1:
		return (1ull << random_below(r, 64)) - random_below(r, 3);
	case 2:
		return -random_below(r, 64);
	default:
		return random_next(r);
	}
}

static uint64_t garbage_above(const struct making *m, uint64_t value)
{
	return m->address32 ? (value & 0xffffffff) | random_next(m->r) << 32 : value;
}

static void settle(struct making *m, unsigned int reg, uint64_t value)
{
	m->s->gpr[reg] = value;
	m->taken |= 1u << reg;
}

static unsigned int free_register(struct making *m, bool index)
{
	for (;;) {
		unsigned int reg = (unsigned int)random_below(m->r, 16);

		if (!(m->taken >> reg & 1) && !(index && reg == CPU_RSP))
			return reg;
	}
}

static void put(struct making *m, uint64_t value, unsigned int size)
{
	memcpy(m->tail + m->tail_size, &value, size);
	m->tail_size += size;
}

static void put_modrm(struct making *m, unsigned int mod, unsigned int reg, unsigned int rm)
{
	put(m, mod << 6 | (reg & 7) << 3 | (rm & 7), 1);
	m->rex |= (reg & 8 ? 4 : 0) | (rm & 8 ? 1 : 0);
}

static void put_sib(struct making *m, unsigned int scale, unsigned int index, unsigned int base)
{
	put(m, scale << 6 | (index & 7) << 3 | (base & 7), 1);
	m->rex |= (index & 8 ? 2 : 0) | (base & 8 ? 1 : 0);
}

static const unsigned int displacement_size[3] = {0, 1, 4}; /* by ModRM.mod */

/* A random displacement that mod can encode. */
static uint64_t displacement(struct making *m, unsigned int mod)
{
	uint64_t any = random_next(m->r);

	return mod == 0 ? 0 : mod == 1 ? (uint64_t)(int8_t)any : (uint64_t)(int32_t)any;
}

static bool uses_stack(const struct sample_form *f)
{
	return f->kind == KIND_PUSH || f->kind == KIND_POP || f->kind == KIND_CALL || f->kind == KIND_CALL_RELATIVE;
}

/* [rsp + disp] of a stack instruction, whose RSP is settled. Returns false if no displacement leads that far. */
static bool stack_relative(struct making *m, unsigned int reg, uint64_t effective)
{
	uint64_t disp = effective - m->s->gpr[CPU_RSP] - (m->f->kind == KIND_POP ? m->width : 0);

	if (!uses_stack(m->f) || (!m->address32 && disp != (uint64_t)(int32_t)disp))
		return false;
	put_modrm(m, 2, reg, 4);
	put_sib(m, (unsigned int)random_below(m->r, 4), 4, CPU_RSP);
	put(m, disp, 4);
	return true;
}

/* [base + disp] */
static void base_only(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int mod = (unsigned int)random_below(m->r, 3), base = free_register(m, false);
	uint64_t disp;

	if (mod == 0 && (base & 7) == 5)
		mod = 1;
	disp = displacement(m, mod);
	settle(m, base, garbage_above(m, effective - disp));
	put_modrm(m, mod, reg, (base & 7) == 4 ? 4 : base);
	m->rex |= base & 8 ? 1 : 0;
	if ((base & 7) == 4)
		put_sib(m, (unsigned int)random_below(m->r, 4), 4, base);
	put(m, disp, displacement_size[mod]);
}

static void base_and_index(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int scale = (unsigned int)random_below(m->r, 4), mod = (unsigned int)random_below(m->r, 3);
	unsigned int index = free_register(m, true), base = free_register(m, false);
	uint64_t disp;

	if (base == index) {
		uint64_t factor = 1 + (1ull << scale), value = effective / factor;

		mod = mod == 0 ? 1 : mod;
		disp = effective - value * factor;
		settle(m, base, garbage_above(m, value));
	} else {
		if (mod == 0 && (base & 7) == 5)
			mod = 2;
		disp = displacement(m, mod);
		settle(m, index, interesting(m->r));
		settle(m, base, garbage_above(m, effective - disp - (m->s->gpr[index] << scale)));
	}
	put_modrm(m, mod, reg, 4);
	put_sib(m, scale, index, base);
	put(m, disp, displacement_size[mod]);
}

static void index_only(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int scale = (unsigned int)random_below(m->r, 4), index = free_register(m, true);
	uint64_t value = (effective >> scale) - random_below(m->r, 1000);

	put_modrm(m, 0, reg, 4);
	put_sib(m, scale, index, 5);
	put(m, effective - (value << scale), 4);
	settle(m, index, garbage_above(m, value));
}

static void absolute(struct making *m, unsigned int reg, uint64_t effective)
{
	put_modrm(m, 0, reg, 4);
	put_sib(m, (unsigned int)random_below(m->r, 4), 4, 5);
	put(m, effective, 4);
}

static void rip_relative(struct making *m, unsigned int reg, uint64_t effective)
{
	put_modrm(m, 0, reg, 5);
	m->patch = m->tail_size;
	m->patch_to = effective;
	put(m, 0, 4);
}

static void put_memory(struct making *m, unsigned int reg, uint64_t effective)
{
	/* The last two reach only what is near 0 and the code. */
	bool near = effective < 1ull << 31;

	if (chance(m->r, 20) && stack_relative(m, reg, effective))
		return;
	switch (random_below(m->r, near ? 6 : 4)) {
	case 0:
	case 1:
		base_only(m, reg, effective);
		break;
	case 2:
		base_and_index(m, reg, effective);
		break;
	case 3:
		index_only(m, reg, effective);
		break;
	case 4:
		absolute(m, reg, effective);
		break;
	default:
		rip_relative(m, reg, effective);
		break;
	}
}

static bool is_string(const struct sample_form *f)
{
	return f->kind == KIND_STOS || f->kind == KIND_LODS || f->kind == KIND_MOVS;
}

static bool needs_alignment(const struct making *m, unsigned int size)
{
	return m->f->aligned || (m->f->kind == KIND_CMPXCHG_PAIR && size == 16);
}

/*
 * Non-canonical, wholly or by the first or last bytes. Never all in the last page before the border: what a process may know
 * of that page is the host kernel's business.
 */
static uint64_t wild_target(struct making *m, unsigned int size)
{
	bool whole = is_string(m->f) || needs_alignment(m, size) || size == 1;

	if (!whole && chance(m->r, 30))
		return CANONICAL_END - 1 - random_below(m->r, size - 1);
	if (!whole && chance(m->r, 10))
		return -CANONICAL_END - 1 - random_below(m->r, 3ull * size);
	return CANONICAL_END + random_below(m->r, -2 * CANONICAL_END - size);
}

/* In the window or around it, often across a page border. */
static uint64_t near_target(struct making *m, unsigned int size)
{
	uint64_t more = m->range == RANGE_AROUND ? PAGE_SIZE : 0;
	uint64_t first = SAMPLE_WINDOW - more, last = WINDOW_END + more - size, at;

	if (!chance(m->r, 30))
		return first + random_below(m->r, last - first + 1);
	at = SAMPLE_WINDOW + PAGE_SIZE * (1 + random_below(m->r, 2)) - random_below(m->r, 2ull * size + 1);
	if (more && chance(m->r, 40))
		at += chance(m->r, 50) ? more : -more;
	return at;
}

/* A place for `size` bytes. */
static uint64_t random_target(struct making *m, unsigned int size)
{
	uint64_t at = m->range == RANGE_WILD ? wild_target(m, size) : near_target(m, size);

	if (needs_alignment(m, size) && (m->range != RANGE_AROUND || chance(m->r, 80)))
		at &= ~15ull;
	return at;
}

static void choose_segment(struct making *m)
{
	static const uint8_t ignored[] = {0x26, 0x2e, 0x36, 0x3e};

	switch (random_below(m->r, 10)) {
	case 0:
		m->segment = ignored[random_below(m->r, 4)];
		break;
	case 1:
		m->segment = 0x64;
		m->segment_base = m->s->fs_base;
		break;
	case 2:
		m->segment = 0x65;
		m->segment_base = SAMPLE_GS_BASE;
		break;
	default:
		break;
	}
	/* FS's base is beyond what 32 bits can bring back. */
	m->address32 = m->segment != 0x64 && m->range != RANGE_WILD && chance(m->r, 15);
}

static void choose_width(struct making *m)
{
	static const unsigned int widths[] = {2, 4, 8};

	if (m->f->kind == KIND_PUSH || m->f->kind == KIND_POP) {
		m->width = chance(m->r, 30) ? 2 : 8;
		m->rex |= m->width == 8 && chance(m->r, 20) ? 8 : 0;
		return;
	}
	m->width = m->f->fixed ? m->f->size : widths[random_below(m->r, 3)];
	/* A 0x66 that is there for another reason cannot ask for 16 bits. */
	if (!m->f->fixed && m->width == 2 && m->f->prefix == 0x66)
		m->width = 4;
	if (!strncmp(m->f->name, "movnti", 6) && m->width == 2)
		m->width = 4;
	/* Intel's CPUs read 16 bits here, AMD's (our model's) 32. */
	if (!strncmp(m->f->name, "movsxd", 6) && m->width == 2 && !__builtin_cpu_is("amd"))
		m->width = 4;
	if (m->f->kind == KIND_CMPXCHG_PAIR && m->width == 2)
		m->width = 4;
	m->rex |= !m->f->fixed && m->width == 8 ? 8 : 0;
}

static unsigned int memory_size(const struct making *m)
{
	if (m->f->kind == KIND_CMPXCHG_PAIR)
		return 2 * m->width;
	return m->f->size ? m->f->size : m->width;
}

/* Where the bytes of a bit string are that bit number `bit` of size `width` falls into, from its beginning. */
static uint64_t bit_distance(uint64_t number, unsigned int width)
{
	int64_t bit = width == 2 ? (int16_t)number : width == 4 ? (int32_t)number : (int64_t)number;
	int64_t bits = 8 * (int64_t)width, chunk = bit / bits;

	if (bit % bits < 0)
		chunk--;
	return (uint64_t)(chunk * (int64_t)width);
}

static void memory_operand(struct making *m, unsigned int reg)
{
	struct sample *s = m->s;
	uint64_t effective;

	s->memory = true;
	s->size = memory_size(m);
	s->target = random_target(m, s->size);
	effective = s->target - m->segment_base;
	if (m->f->kind == KIND_BIT && m->f->digit < 0) {
		m->taken |= 1u << reg;
		effective -= bit_distance(s->gpr[reg], m->width);
	}
	if (m->address32)
		effective &= 0xffffffff;
	put_memory(m, reg, effective);
}

/* A place in the code pages that holds INT3; or one where no code can be. */
static uint64_t landing(struct making *m)
{
	if (m->range == RANGE_AROUND && m->f->kind == KIND_CALL && chance(m->r, 30))
		return CANONICAL_END + random_below(m->r, -2 * CANONICAL_END);
	for (;;) {
		uint64_t at = SAMPLE_CODE + random_below(m->r, CODE_END - SAMPLE_CODE);

		if (at < m->s->rip || at >= m->s->rip + sizeof(m->s->bytes))
			return at;
	}
}

static void operands(struct making *m)
{
	unsigned int reg = m->f->digit < 0 ? (unsigned int)random_below(m->r, 16) : (unsigned int)m->f->digit;

	if (!m->f->memory_only && chance(m->r, 15)) {
		unsigned int rm = free_register(m, false);

		put_modrm(m, 3, reg, rm);
		if (m->f->kind == KIND_CALL)
			settle(m, rm, landing(m));
		if (m->f->kind == KIND_CMPXCHG && chance(m->r, 50))
			settle(m, rm, m->s->gpr[CPU_RAX]);
		return;
	}
	memory_operand(m, reg);
	if (m->f->kind == KIND_CALL) {
		uint64_t to = landing(m);

		memcpy(m->s->poke, &to, sizeof(to));
		m->s->poke_size = sizeof(to);
	}
}

static void moffs(struct making *m)
{
	struct sample *s = m->s;

	s->memory = true;
	s->size = memory_size(m);
	s->target = random_target(m, s->size);
	put(m, s->target - m->segment_base, m->address32 ? 4 : 8);
}

/* Half of the comparisons find what they expect. */
static void expectation(struct making *m)
{
	struct sample *s = m->s;
	uint64_t halves[2] = {s->gpr[CPU_RAX], s->gpr[CPU_RDX]};
	unsigned int size = m->f->kind == KIND_CMPXCHG_PAIR ? m->width : s->size;

	if (!s->memory || chance(m->r, 50))
		return;
	memcpy(s->poke, &halves[0], size);
	s->poke_size = size;
	if (m->f->kind == KIND_CMPXCHG_PAIR) {
		memcpy(s->poke + size, &halves[1], size);
		s->poke_size = 2 * size;
	}
}

static void string(struct making *m)
{
	struct sample *s = m->s;
	bool rep = m->f->prefix;
	unsigned int count = rep ? (unsigned int)random_below(m->r, 40) : 1, bytes = (count ? count : 1) * m->width;
	uint64_t to = random_target(m, bytes), from = random_target(m, bytes);

	/* Backwards it starts at the last element. */
	if (s->rflags & RFLAGS_DF) {
		to += bytes - m->width;
		from += bytes - m->width;
	}
	if (m->f->kind != KIND_LODS)
		settle(m, CPU_RDI, garbage_above(m, to));
	if (m->f->kind != KIND_STOS)
		settle(m, CPU_RSI, garbage_above(m, from - m->segment_base));
	if (rep)
		settle(m, CPU_RCX, garbage_above(m, count));
}

static void immediate(struct making *m)
{
	if (m->f->imm == IMM_8)
		put(m, interesting(m->r), 1);
	else if (m->f->imm == IMM_Z)
		put(m, interesting(m->r), m->width == 2 ? 2 : 4);
}

static void emit(struct sample *s, unsigned int byte)
{
	s->bytes[s->length++] = (uint8_t)byte;
}

static void prefixes(struct making *m)
{
	struct sample *s = m->s;
	bool size16 = m->width == 2 && !m->f->fixed;
	uint8_t legacy[5];
	unsigned int count = 0;

	if (m->segment)
		legacy[count++] = m->segment;
	if (m->address32)
		legacy[count++] = 0x67;
	if (size16)
		legacy[count++] = 0x66;
	if (m->f->lock && s->memory && chance(m->r, 30))
		legacy[count++] = 0xf0;
	if (m->f->prefix)
		legacy[count++] = m->f->prefix;
	while (count) {
		unsigned int i = (unsigned int)random_below(m->r, count);

		emit(s, legacy[i]);
		legacy[i] = legacy[--count];
	}
	if (m->rex || m->need_rex)
		emit(s, 0x40u | m->rex);
}

static void assemble(struct making *m)
{
	struct sample *s = m->s;
	unsigned int opcode_at;

	prefixes(m);
	opcode_at = s->length;
	for (unsigned int i = 0; i < m->f->opcode_size; i++)
		emit(s, m->f->opcode[i]);
	/* PUSH and POP of a register have its number in the opcode. */
	if (m->f->no_modrm && m->f->imm == IMM_NONE && (m->f->kind == KIND_PUSH || m->f->kind == KIND_POP))
		s->bytes[opcode_at] |= (uint8_t)random_below(m->r, 8);
	if (m->patch_to) {
		uint64_t relative = m->patch_to - (s->rip + s->length + m->tail_size);

		memcpy(m->tail + m->patch, &relative, 4);
	}
	memcpy(s->bytes + s->length, m->tail, m->tail_size);
	s->length += m->tail_size;
}

static uint32_t undefined_flags(const struct making *m)
{
	const struct sample *s = m->s;
	unsigned int count;

	if (m->f->kind != KIND_SHIFT)
		return m->f->undefined;
	if (m->f->imm == IMM_8)
		count = s->bytes[s->length - 1];
	else
		count = m->f->opcode[0] >= 0xd2 ? (unsigned int)s->gpr[CPU_RCX] : 1;
	count &= m->width == 8 ? 63 : 31;
	return (count ? RFLAGS_AF : 0) | (count > 1 ? RFLAGS_OF : 0) |
	       (count >= 8 * m->width && m->f->digit != 7 ? RFLAGS_CF : 0);
}

static void start(struct making *m)
{
	struct sample *s = m->s;

	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		s->gpr[i] = interesting(m->r);
	s->rflags = RFLAGS_ONE | RFLAGS_IF | (random_next(m->r) & (ARITHMETIC | RFLAGS_DF));
	s->rip = chance(m->r, 25) ? SAMPLE_CODE + PAGE_SIZE - random_below(m->r, 16)
				  : SAMPLE_CODE + random_below(m->r, CODE_END - SAMPLE_CODE - 32);
}

void sample_make(struct sample *s, const struct sample_form *f, enum sample_range range, struct random *r)
{
	struct making m = {.s = s, .f = f, .range = range, .r = r};
	uint64_t fs_base = s->fs_base;

	*s = (struct sample){.form = f, .fs_base = fs_base};
	start(&m);
	choose_width(&m);
	choose_segment(&m);
	m.need_rex = chance(r, 20);
	if (uses_stack(f)) {
		uint64_t slot = random_target(&m, m.width);

		settle(&m, CPU_RSP, f->kind == KIND_POP ? slot : slot + m.width);
	}
	if (is_string(f)) {
		string(&m);
	} else if (f->kind == KIND_MOFFS) {
		moffs(&m);
	} else if (f->kind == KIND_CALL_RELATIVE) {
		m.patch_to = landing(&m);
		put(&m, 0, 4);
	} else if (!f->no_modrm) {
		operands(&m);
	}
	if (f->kind == KIND_CMPXCHG || f->kind == KIND_CMPXCHG_PAIR)
		expectation(&m);
	immediate(&m);
	assemble(&m);
	s->undefined = undefined_flags(&m);
}

void sample_print(const struct sample *s)
{
	printf("%s:", s->form->name);
	for (unsigned int i = 0; i < s->length; i++)
		printf(" %02x", s->bytes[i]);
	printf(" at %#lx rflags %#lx", (unsigned long)s->rip, (unsigned long)s->rflags);
	if (s->memory)
		printf(" [%#lx, %u]", (unsigned long)s->target, s->size);
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		printf("%s%#lx", i ? " " : "\n  gpr ", (unsigned long)s->gpr[i]);
	printf("\n");
	fflush(stdout);
}
