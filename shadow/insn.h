/*
 * One guest instruction: fetched, decoded (Zydis), its operands read and written. What executes it is elsewhere:
 * insn_memory.h (moves and arithmetic on memory), privileged.h (what only ring 0 may do).
 */
#pragma once

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

#include "shadow/gmem.h"

struct insn {
	ZydisDecodedInstruction info;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
};

/* An exception that an instruction raises: vector, error code where the vector has one, CR2 for a page fault. */
struct trap {
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t cr2;
};

enum insn_result {
	INSN_DONE,    /* executed; RIP is past it (REP: unless iterations are left, then RIP is on it) */
	INSN_TRAP,    /* the guest must see *trap; no register or memory was changed, but what a REP had done */
	INSN_UNKNOWN, /* valid perhaps, but not in our repertoire; nothing was changed */
	INSN_ENDED,   /* the VM ended meanwhile */
};

#define TRAP_DB 1
#define TRAP_BP 3
#define TRAP_OF 4
#define TRAP_UD 6
#define TRAP_NM 7
#define TRAP_DF 8
#define TRAP_TS 10
#define TRAP_NP 11
#define TRAP_SS 12
#define TRAP_GP 13
#define TRAP_PF 14
#define TRAP_AC 17
#define TRAP_CP 21

/* Whether the CPU pushes an error code for the exception. */
bool trap_pushes_error(int vector);

struct trap trap_of_fault(const struct gfault *fault);
struct trap trap_gp(uint32_t error);
struct trap trap_ss(uint32_t error);
struct trap trap_ud(void);

/*
 * Fetches and decodes the instruction at RIP. INSN_DONE here means "decoded"; a fetch that faults is INSN_TRAP with the
 * page fault (of the second page only if the instruction reaches it), an invalid instruction INSN_TRAP with #UD, one
 * longer than 15 bytes or at an address that is not canonical #GP(0). Code outside RAM, and any but 64-bit code, is
 * INSN_UNKNOWN.
 */
enum insn_result insn_fetch(struct gmem *g, struct insn *in, struct trap *trap);

/* Decodes anew, with `byte` as the last one of the instruction. Returns false, with *in of no use, if that makes none. */
bool insn_exchange_last(struct insn *in, uint8_t byte);

/* General register by Zydis's name, of its width; 8-bit high registers too. */
uint64_t insn_read_reg(const struct cpu_state *cs, ZydisRegister reg);

/* Writes as the CPU does: 32-bit writes clear the upper half, 8- and 16-bit ones keep the rest. */
void insn_write_reg(struct cpu_state *cs, ZydisRegister reg, uint64_t value);

/*
 * Linear address of a memory operand, with segment base (FS, GS), RIP-relative, 32-bit address size. Returns false, with
 * *trap = #GP(0) or #SS(0), if any byte of it is not canonical.
 */
bool insn_address(const struct cpu_state *cs, const struct insn *in, const ZydisDecodedOperand *op, uint32_t size,
		  uint64_t *gva, struct trap *trap);

/*
 * The same with `distance` added to the effective address, before it is cut to the address size: for operands that lie
 * beside the place the instruction names (a bit string, POP relative to RSP).
 */
bool insn_address_beside(const struct cpu_state *cs, const struct insn *in, const ZydisDecodedOperand *op,
			 uint32_t size, uint64_t distance, uint64_t *gva, struct trap *trap);

/* Moves RIP past the instruction, clears RF and ends an interrupt shadow. */
void insn_advance(struct cpu_state *cs, const struct insn *in);
