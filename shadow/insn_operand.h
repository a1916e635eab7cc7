/*
 * Operands of one instruction as values. An instruction first prepares all its operands: addresses are worked out, pages
 * walked and checked, A and D set. Whatever traps, traps then, and nothing has changed. Then it loads, computes, stores.
 */
#pragma once

#include "shadow/insn.h"

struct execution;

/* How the instructions of one mnemonic are executed. */
struct insn_form {
	enum insn_result (*run)(const struct execution *x);
	uint64_t (*compute)(uint64_t a, uint64_t b, unsigned int size, uint64_t *rflags); /* insn_alu.h; or NULL */
	bool aligned; /* memory has to lie on a border of its size at any setting of alignment checks: else #GP(0) */
};

/* An instruction on its way. */
struct execution {
	const struct insn_form *form;
	struct gmem *g;
	struct cpu_state *cs; /* g->cs */
	const struct insn *in;
	uint8_t (*xmm)[16];  /* may be NULL */
	uint32_t iterations; /* at least 1: how many of a REP */
	struct trap *trap;   /* filled with INSN_TRAP */
};

struct operand {
	const ZydisDecodedOperand *op; /* NULL: memory that the instruction does not name */
	uint32_t size;		       /* bytes: 1..16 */
	bool memory, written;
	struct gmem_range range; /* with memory */
};

/*
 * Prepares op, to be written if the instruction may write it (a failing CMPXCHG and a shift by nothing write, too).
 * `distance` is added to a memory operand's address. INSN_DONE, INSN_TRAP, or INSN_UNKNOWN for what is no general
 * register, immediate or plain memory.
 */
enum insn_result operand_prepare(const struct execution *x, const ZydisDecodedOperand *op, uint64_t distance,
				 struct operand *o);

/* Prepares `size` bytes of stack, to be read or written. */
enum insn_result operand_prepare_stack(const struct execution *x, uint64_t gva, uint32_t size, bool write,
				       struct operand *o);

/*
 * The value, zero-extended, of at most 8 bytes; immediates are sign-extended as encoded. INSN_DONE or INSN_ENDED. Stores
 * ignore the bits above the operand's size.
 */
enum insn_result operand_load(const struct execution *x, const struct operand *o, uint64_t *value);
enum insn_result operand_store(const struct execution *x, const struct operand *o, uint64_t value);

/* The bytes of a memory operand of any size. */
enum insn_result operand_load_bytes(const struct execution *x, const struct operand *o, void *to);
enum insn_result operand_store_bytes(const struct execution *x, const struct operand *o, const void *from);

/* The first two operands of an instruction, which are all the explicit ones. */
enum insn_result operand_prepare_two(const struct execution *x, struct operand *to, struct operand *from);
enum insn_result operand_load_two(const struct execution *x, const struct operand *to, uint64_t *a,
				  const struct operand *from, uint64_t *b);

/* Both: prepares the two, then loads them. */
enum insn_result operand_take_two(const struct execution *x, struct operand *to, uint64_t *a, struct operand *from, uint64_t *b);

/* INSN_TRAP with this trap. */
enum insn_result execution_trap(const struct execution *x, struct trap trap);

/* INSN_DONE: the end of an instruction that came out well, its flags set and RIP past it. */
enum insn_result execution_done(const struct execution *x, uint64_t rflags);
