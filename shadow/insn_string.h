/*
 * MOVS, STOS and LODS, with and without REP.
 */
#pragma once

#include "shadow/insn_operand.h"

/*
 * Executes at most x->iterations iterations. Each is complete in itself: what traps or ends later leaves the registers as
 * after the last whole one.
 */
enum insn_result insn_string(const struct execution *x);
