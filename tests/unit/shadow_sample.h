/*
 * Random instructions for the emulation's tests, put together from the encoding tables of the manuals (AMD APM vol. 3,
 * chapter 1 and appendix A) by hand: registers are given values that make memory operands land in a small window.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/random.h"
#include "vmm/cpu_state.h"

/* Low addresses: they serve with 32-bit address size, too. */
#define SAMPLE_WINDOW 0x20000000ull
#define SAMPLE_WINDOW_PAGES 3u
#define SAMPLE_CODE 0x21000000ull
#define SAMPLE_CODE_PAGES 2u
#define SAMPLE_GS_BASE 0x1f001230ull

enum sample_imm { IMM_NONE, IMM_8, IMM_Z /* 16 bits, or 32 */ };

/* What a form is besides opcode, ModRM and immediate. */
enum sample_kind {
	KIND_PLAIN, KIND_SHIFT, KIND_BIT, KIND_CMPXCHG, KIND_CMPXCHG_PAIR, KIND_MOFFS, KIND_PUSH, KIND_POP, KIND_CALL,
	KIND_CALL_RELATIVE, KIND_STOS, KIND_LODS, KIND_MOVS, KIND_SSE,
};

struct sample_form {
	const char *name;
	uint8_t opcode[3], opcode_size;
	int8_t digit;	/* in ModRM.reg; -1: a register's number */
	uint8_t imm;	/* enum sample_imm */
	uint8_t kind;	/* enum sample_kind */
	uint8_t size;	/* bytes of the memory operand; 0: the operand size */
	uint8_t prefix; /* mandatory one */
	bool fixed;	/* operand size is not to be chosen; of 8-bit forms, too */
	bool lock, memory_only, no_modrm, aligned, writes;
	uint32_t undefined; /* flags */
};

extern const struct sample_form sample_forms[];
extern const size_t sample_form_count;

struct sample {
	const struct sample_form *form;
	uint8_t bytes[15];
	unsigned int length;
	uint64_t gpr[CPU_GPR_COUNT], rip, rflags;
	uint64_t fs_base;	  /* of this process, given */
	bool memory;		  /* has a memory operand besides the stack and strings */
	uint64_t target;	  /* its gva */
	unsigned int size;	  /* and bytes */
	uint8_t poke[16];	  /* to be put at target first, if poke_size */
	unsigned int poke_size;
	uint32_t undefined;	  /* flags, with this shift count */
};

/*
 * Where memory operands go: into the window; up to a page beyond, and then some are misaligned that must not be, and some
 * calls lead to no canonical address; or across and beyond the border of canonical addresses.
 */
enum sample_range { RANGE_WINDOW, RANGE_AROUND, RANGE_WILD };

/* Makes a random sample of a form. s->fs_base is to be set. */
void sample_make(struct sample *s, const struct sample_form *f, enum sample_range range, struct random *r);

/* Prints what it takes to see what went wrong. */
void sample_print(const struct sample *s);
