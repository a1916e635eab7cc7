/*
 * Transfers of control between rings: what privileged.c's table calls for them.
 * Rules: AMD APM vol. 3, IRET, RET (far), SYSRET; Intel SDM vol. 2 under each instruction.
 */
#pragma once

#include "shadow/privileged_insn.h"

enum insn_result transfer_iret(const struct privileged_insn *x);
enum insn_result transfer_sysret(const struct privileged_insn *x);
enum insn_result transfer_far_ret(const struct privileged_insn *x);
