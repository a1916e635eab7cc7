/*
 * PUSH, POP and near CALL, whose stack or operand is out of the guest's direct reach.
 */
#pragma once

#include "shadow/insn_operand.h"

enum insn_result insn_push(const struct execution *x);
enum insn_result insn_pop(const struct execution *x);

/* 64-bit calls only: one with an operand-size prefix, which cuts it to 16 bits, is INSN_UNKNOWN, and so is a far one. */
enum insn_result insn_call(const struct execution *x);
