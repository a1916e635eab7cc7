/*
 * Executes what only ring 0 may do, for a guest kernel that runs in ring 3: decoded instruction in, new struct cpu_state out.
 * The table of instructions is here; what they do is in control.h (registers), segment.h (descriptor tables, selectors),
 * transfer.h (far returns), flags.h and port.h.
 */
#pragma once

#include "shadow/privileged_insn.h"

/*
 * Executes MOV CR/DR, CLTS, LMSW, SMSW, RDMSR, WRMSR, LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR, CLI, STI, HLT,
 * IN, OUT, INS, OUTS, INVLPG, INVD, WBINVD, SWAPGS, IRETQ, SYSRET, far RET, MOV and POP to segment registers, PUSHF,
 * POPF, RDPMC, RDTSC, by the rules of the state's own CPL and mode; what breaks them is INSN_TRAP. Anything else is
 * INSN_UNKNOWN.
 */
enum insn_result privileged_execute(struct privileged *p, const struct insn *in, struct trap *trap);
