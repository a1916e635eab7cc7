/*
 * Port I/O of the guest: what privileged.c's table calls for it. IOPL and the TSS's bitmap are checked as the CPU does (AMD
 * APM vol. 2, 12.2.4; Intel SDM vol. 1, 19.5); every element is one access (access.h).
 */
#pragma once

#include "shadow/privileged_insn.h"

enum insn_result port_in(const struct privileged_insn *x);
enum insn_result port_out(const struct privileged_insn *x);
enum insn_result port_ins(const struct privileged_insn *x);
enum insn_result port_outs(const struct privileged_insn *x);
