/*
 * A sample (shadow_sample.h) on its way: what has been decided, and the ways to encode a memory operand, for which registers
 * are given the values that lead where it is to go (AMD APM vol. 3, chapter 1: ModRM and SIB).
 */
#pragma once

#include "tests/unit/shadow_sample.h"

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

bool making_chance(struct random *r, unsigned int percent);

/* Values at the edges, small ones, and any. */
uint64_t making_interesting(struct random *r);

/* The value as a register holds it of which the address size takes the lower half, or all. */
uint64_t making_garbage_above(const struct making *m, uint64_t value);

void making_settle(struct making *m, unsigned int reg, uint64_t value);

/* One whose value is not settled, and that can be an index if it has to. */
unsigned int making_free_register(struct making *m, bool index);

/* Adds to the tail; REX follows from what is put. */
void making_put(struct making *m, uint64_t value, unsigned int size);
void making_put_modrm(struct making *m, unsigned int mod, unsigned int reg, unsigned int rm);

/* ModRM and what it takes for an operand with this effective address. */
void making_put_memory(struct making *m, unsigned int reg, uint64_t effective);

bool making_uses_stack(const struct sample_form *f);
