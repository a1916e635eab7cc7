#include "tests/unit/shadow_sample_making.h"

#include <string.h>

bool making_chance(struct random *r, unsigned int percent)
{
	return random_below(r, 100) < percent;
}

uint64_t making_interesting(struct random *r)
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

uint64_t making_garbage_above(const struct making *m, uint64_t value)
{
	return m->address32 ? (value & 0xffffffff) | random_next(m->r) << 32 : value;
}

void making_settle(struct making *m, unsigned int reg, uint64_t value)
{
	m->s->gpr[reg] = value;
	m->taken |= 1u << reg;
}

unsigned int making_free_register(struct making *m, bool index)
{
	for (;;) {
		unsigned int reg = (unsigned int)random_below(m->r, 16);

		if (!(m->taken >> reg & 1) && !(index && reg == CPU_RSP))
			return reg;
	}
}

void making_put(struct making *m, uint64_t value, unsigned int size)
{
	memcpy(m->tail + m->tail_size, &value, size);
	m->tail_size += size;
}

void making_put_modrm(struct making *m, unsigned int mod, unsigned int reg, unsigned int rm)
{
	making_put(m, mod << 6 | (reg & 7) << 3 | (rm & 7), 1);
	m->rex |= (reg & 8 ? 4 : 0) | (rm & 8 ? 1 : 0);
}

static void put_sib(struct making *m, unsigned int scale, unsigned int index, unsigned int base)
{
	making_put(m, scale << 6 | (index & 7) << 3 | (base & 7), 1);
	m->rex |= (index & 8 ? 2 : 0) | (base & 8 ? 1 : 0);
}

static const unsigned int displacement_size[3] = {0, 1, 4}; /* by ModRM.mod */

/* A random displacement that mod can encode. */
static uint64_t displacement(struct making *m, unsigned int mod)
{
	uint64_t any = random_next(m->r);

	return mod == 0 ? 0 : mod == 1 ? (uint64_t)(int8_t)any : (uint64_t)(int32_t)any;
}

bool making_uses_stack(const struct sample_form *f)
{
	return f->kind == KIND_PUSH || f->kind == KIND_POP || f->kind == KIND_CALL || f->kind == KIND_CALL_RELATIVE;
}

/* [rsp + disp] of a stack instruction, whose RSP is settled. Returns false if no displacement leads that far. */
static bool stack_relative(struct making *m, unsigned int reg, uint64_t effective)
{
	uint64_t disp = effective - m->s->gpr[CPU_RSP] - (m->f->kind == KIND_POP ? m->width : 0);

	if (!making_uses_stack(m->f) || (!m->address32 && disp != (uint64_t)(int32_t)disp))
		return false;
	making_put_modrm(m, 2, reg, 4);
	put_sib(m, (unsigned int)random_below(m->r, 4), 4, CPU_RSP);
	making_put(m, disp, 4);
	return true;
}

/* [base + disp] */
static void base_only(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int mod = (unsigned int)random_below(m->r, 3), base = making_free_register(m, false);
	uint64_t disp;

	if (mod == 0 && (base & 7) == 5)
		mod = 1;
	disp = displacement(m, mod);
	making_settle(m, base, making_garbage_above(m, effective - disp));
	making_put_modrm(m, mod, reg, (base & 7) == 4 ? 4 : base);
	m->rex |= base & 8 ? 1 : 0;
	if ((base & 7) == 4)
		put_sib(m, (unsigned int)random_below(m->r, 4), 4, base);
	making_put(m, disp, displacement_size[mod]);
}

static void base_and_index(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int scale = (unsigned int)random_below(m->r, 4), mod = (unsigned int)random_below(m->r, 3);
	unsigned int index = making_free_register(m, true), base = making_free_register(m, false);
	uint64_t disp;

	if (base == index) {
		uint64_t factor = 1 + (1ull << scale), value = effective / factor;

		mod = mod == 0 ? 1 : mod;
		disp = effective - value * factor;
		making_settle(m, base, making_garbage_above(m, value));
	} else {
		if (mod == 0 && (base & 7) == 5)
			mod = 2;
		disp = displacement(m, mod);
		making_settle(m, index, making_interesting(m->r));
		making_settle(m, base, making_garbage_above(m, effective - disp - (m->s->gpr[index] << scale)));
	}
	making_put_modrm(m, mod, reg, 4);
	put_sib(m, scale, index, base);
	making_put(m, disp, displacement_size[mod]);
}

static void index_only(struct making *m, unsigned int reg, uint64_t effective)
{
	unsigned int scale = (unsigned int)random_below(m->r, 4), index = making_free_register(m, true);
	uint64_t value = (effective >> scale) - random_below(m->r, 1000);

	making_put_modrm(m, 0, reg, 4);
	put_sib(m, scale, index, 5);
	making_put(m, effective - (value << scale), 4);
	making_settle(m, index, making_garbage_above(m, value));
}

static void absolute(struct making *m, unsigned int reg, uint64_t effective)
{
	making_put_modrm(m, 0, reg, 4);
	put_sib(m, (unsigned int)random_below(m->r, 4), 4, 5);
	making_put(m, effective, 4);
}

static void rip_relative(struct making *m, unsigned int reg, uint64_t effective)
{
	making_put_modrm(m, 0, reg, 5);
	m->patch = m->tail_size;
	m->patch_to = effective;
	making_put(m, 0, 4);
}

void making_put_memory(struct making *m, unsigned int reg, uint64_t effective)
{
	/* The last two reach only what is near 0 and the code. */
	bool near = effective < 1ull << 31;

	if (making_chance(m->r, 20) && stack_relative(m, reg, effective))
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
