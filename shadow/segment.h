/*
 * Descriptor tables and selectors: what privileged.c's table calls for them.
 * Rules: AMD APM vol. 2, 4.6-4.10; Intel SDM vol. 2 under each instruction.
 */
#pragma once

#include "shadow/privileged_insn.h"

enum insn_result segment_load_table(const struct privileged_insn *x);  /* LGDT, LIDT */
enum insn_result segment_store_table(const struct privileged_insn *x); /* SGDT, SIDT */
enum insn_result segment_lldt(const struct privileged_insn *x);
enum insn_result segment_ltr(const struct privileged_insn *x);
enum insn_result segment_store_selector(const struct privileged_insn *x); /* SLDT, STR */
enum insn_result segment_mov(const struct privileged_insn *x);		   /* MOV to DS, ES, FS, GS, SS */
enum insn_result segment_pop(const struct privileged_insn *x);		   /* POP FS, GS */
