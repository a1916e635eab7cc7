/*
 * Executes an instruction that touches memory the guest may not reach directly: a page-table page or a device. The
 * repertoire is what compilers and kernels use on page tables and device registers.
 */
#pragma once

#include "shadow/insn.h"

/*
 * Executes one iteration (of a REP: up to `iterations`) of the instruction: MOV, MOVZX, MOVSX, MOVSXD, MOVNTI, XCHG, CMPXCHG,
 * CMPXCHG8B/16B, XADD, ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, BT, BTS, BTR, BTC, SHL/SHR/SAR,
 * SETcc, CMOVcc, PUSH, POP, CALL (the return address), STOS, LODS, MOVS, with LOCK and REP. Flags come out as the CPU
 * would leave them. SSE moves (MOVAPS, MOVUPS, MOVDQA, MOVDQU, MOVNTDQ, MOVQ, MOVD of 8/16 bytes) only with `xmm`, the
 * registers' values, given; NULL makes them INSN_UNKNOWN.
 */
enum insn_result insn_execute_memory(struct gmem *g, const struct insn *in, uint8_t (*xmm)[16], uint32_t iterations,
				     struct trap *trap);
