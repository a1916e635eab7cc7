/*
 * The forms of instructions that samples (shadow_sample.h) are made of, as the manuals' encoding tables have them (AMD APM
 * vol. 3, appendix A).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
