/*
 * A privileged instruction on its way: what all of its kinds (control.h, flags.h, port.h, segment.h, transfer.h) work with,
 * and how they end. privileged.h chooses among them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/insn.h"

struct access;

/* What an instruction changed that the shadow must act on; combine. */
enum privileged_effect {
	PRIVILEGED_PAGING = 1,	 /* CR0, CR4 or EFER: paging mode or permissions */
	PRIVILEGED_CR3 = 2,	 /* MOV to CR3, the same value or another: flush */
	PRIVILEGED_INVLPG = 4,	 /* privileged.invlpg_gva */
	PRIVILEGED_SEGMENTS = 8, /* a base of FS or GS, or the kind of code segment */
	PRIVILEGED_HALT = 16,
	PRIVILEGED_DEBUG = 32,	 /* a debug register */
};

struct privileged {
	struct gmem *g;
	uint64_t cr4_allowed; /* bits of CR4 that the CPU model has */
	uint32_t iterations;  /* of a REP: how many at most, at least 1 */

	/* Completes a port access, one element. Returns false if that ended the VM. */
	bool (*port)(struct privileged *p, struct access *a);

	/* The TSC, which the real CPU holds. Return false if the host failed. */
	bool (*read_tsc)(struct privileged *p, uint64_t *value);
	bool (*write_tsc)(struct privileged *p, uint64_t value);

	unsigned int effects; /* out: enum privileged_effect, OR-ed in */
	uint64_t invlpg_gva;  /* out, with PRIVILEGED_INVLPG */
};

/* One instruction on its way. */
struct privileged_insn {
	struct privileged *p;
	struct gmem *g;
	struct cpu_state *cs;
	const struct insn *in;
	struct trap *trap; /* filled with INSN_TRAP */
};

/* Two ways to end: with a trap, or done, RIP past the instruction and `effects` (enum privileged_effect) noted. */
enum insn_result privileged_trap(const struct privileged_insn *x, struct trap trap);
enum insn_result privileged_done(const struct privileged_insn *x, unsigned int effects);

/* Bytes at gva, as an explicit operand of the instruction (user: its CPL) or as the CPU's own access (user 0). */
enum insn_result privileged_read(const struct privileged_insn *x, uint64_t gva, void *to, uint32_t size,
				 unsigned int user);
enum insn_result privileged_write(const struct privileged_insn *x, uint64_t gva, const void *from, uint32_t size,
				  unsigned int user);

/* Value of a 16-bit register or memory operand; writes go by the register's width. */
enum insn_result privileged_read16(const struct privileged_insn *x, const ZydisDecodedOperand *op, uint16_t *value);
enum insn_result privileged_write16(const struct privileged_insn *x, const ZydisDecodedOperand *op, uint64_t value);

bool privileged_canonical(uint64_t gva);
