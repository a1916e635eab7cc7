/*
 * PUSHF and POPF of a guest kernel, where a trap was put in their place (patch.h): by the guest's own IF, IOPL and CPL.
 * AMD APM vol. 3, "PUSHF", "POPF".
 */
#pragma once

#include "shadow/privileged_insn.h"

enum insn_result flags_push(const struct privileged_insn *x);
enum insn_result flags_pop(const struct privileged_insn *x);
