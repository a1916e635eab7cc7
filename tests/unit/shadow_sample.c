#include "tests/unit/shadow_sample.h"

#include <stdio.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/shadow_sample_making.h"
#include "vmm/mem.h"

#define ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define WINDOW_END (SAMPLE_WINDOW + SAMPLE_WINDOW_PAGES * PAGE_SIZE)
#define CODE_END (SAMPLE_CODE + SAMPLE_CODE_PAGES * PAGE_SIZE)

#define CANONICAL_END (1ull << 47)

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

	if (!whole && making_chance(m->r, 30))
		return CANONICAL_END - 1 - random_below(m->r, size - 1);
	if (!whole && making_chance(m->r, 10))
		return -CANONICAL_END - 1 - random_below(m->r, 3ull * size);
	return CANONICAL_END + random_below(m->r, -2 * CANONICAL_END - size);
}

/* In the window or around it, often across a page border. */
static uint64_t near_target(struct making *m, unsigned int size)
{
	uint64_t more = m->range == RANGE_AROUND ? PAGE_SIZE : 0;
	uint64_t first = SAMPLE_WINDOW - more, last = WINDOW_END + more - size, at;

	if (!making_chance(m->r, 30))
		return first + random_below(m->r, last - first + 1);
	at = SAMPLE_WINDOW + PAGE_SIZE * (1 + random_below(m->r, 2)) - random_below(m->r, 2ull * size + 1);
	if (more && making_chance(m->r, 40))
		at += making_chance(m->r, 50) ? more : -more;
	return at;
}

/* A place for `size` bytes. */
static uint64_t random_target(struct making *m, unsigned int size)
{
	uint64_t at = m->range == RANGE_WILD ? wild_target(m, size) : near_target(m, size);

	if (needs_alignment(m, size) && (m->range != RANGE_AROUND || making_chance(m->r, 80)))
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
	m->address32 = m->segment != 0x64 && m->range != RANGE_WILD && making_chance(m->r, 15);
}

static void choose_width(struct making *m)
{
	static const unsigned int widths[] = {2, 4, 8};

	if (m->f->kind == KIND_PUSH || m->f->kind == KIND_POP) {
		m->width = making_chance(m->r, 30) ? 2 : 8;
		m->rex |= m->width == 8 && making_chance(m->r, 20) ? 8 : 0;
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
	making_put_memory(m, reg, effective);
}

/* A place in the code pages that holds INT3; or one where no code can be. */
static uint64_t landing(struct making *m)
{
	if (m->range == RANGE_AROUND && m->f->kind == KIND_CALL && making_chance(m->r, 30))
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

	if (!m->f->memory_only && making_chance(m->r, 15)) {
		unsigned int rm = making_free_register(m, false);

		making_put_modrm(m, 3, reg, rm);
		if (m->f->kind == KIND_CALL)
			making_settle(m, rm, landing(m));
		if (m->f->kind == KIND_CMPXCHG && making_chance(m->r, 50))
			making_settle(m, rm, m->s->gpr[CPU_RAX]);
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
	making_put(m, s->target - m->segment_base, m->address32 ? 4 : 8);
}

/* Half of the comparisons find what they expect. */
static void expectation(struct making *m)
{
	struct sample *s = m->s;
	uint64_t halves[2] = {s->gpr[CPU_RAX], s->gpr[CPU_RDX]};
	unsigned int size = m->f->kind == KIND_CMPXCHG_PAIR ? m->width : s->size;

	if (!s->memory || making_chance(m->r, 50))
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
		making_settle(m, CPU_RDI, making_garbage_above(m, to));
	if (m->f->kind != KIND_STOS)
		making_settle(m, CPU_RSI, making_garbage_above(m, from - m->segment_base));
	if (rep)
		making_settle(m, CPU_RCX, making_garbage_above(m, count));
}

static void immediate(struct making *m)
{
	if (m->f->imm == IMM_8)
		making_put(m, making_interesting(m->r), 1);
	else if (m->f->imm == IMM_Z)
		making_put(m, making_interesting(m->r), m->width == 2 ? 2 : 4);
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
	if (m->f->lock && s->memory && making_chance(m->r, 30))
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
		s->gpr[i] = making_interesting(m->r);
	s->rflags = RFLAGS_ONE | RFLAGS_IF | (random_next(m->r) & (ARITHMETIC | RFLAGS_DF));
	s->rip = making_chance(m->r, 25) ? SAMPLE_CODE + PAGE_SIZE - random_below(m->r, 16)
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
	m.need_rex = making_chance(r, 20);
	if (making_uses_stack(f)) {
		uint64_t slot = random_target(&m, m.width);

		making_settle(&m, CPU_RSP, f->kind == KIND_POP ? slot : slot + m.width);
	}
	if (is_string(f)) {
		string(&m);
	} else if (f->kind == KIND_MOFFS) {
		moffs(&m);
	} else if (f->kind == KIND_CALL_RELATIVE) {
		m.patch_to = landing(&m);
		making_put(&m, 0, 4);
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

bool sample_has_prefix(const struct sample *s, uint8_t prefix)
{
	return memchr(s->bytes, prefix, s->length - s->form->opcode_size) != NULL;
}

bool sample_is_string(const struct sample *s)
{
	return is_string(s->form);
}
