/*
 * SSE moves between a register and memory.
 */
#pragma once

#include "shadow/insn_operand.h"

/*
 * Moves the operand's bytes and, into a register, clears the rest of its 16. INSN_UNKNOWN without x->xmm, and for MMX
 * registers and moves between registers; #UD and #NM by CR0 and CR4.
 */
enum insn_result insn_sse_move(const struct execution *x);
