/*
 * Control, debug and model-specific registers, flags and caches: what privileged.c's table calls for them.
 * Rules: AMD APM vol. 2, 3.1 and 3.2; Intel SDM vol. 3, 2.5 and vol. 2 under each instruction.
 */
#pragma once

#include "shadow/privileged_insn.h"

enum insn_result control_mov_cr(const struct privileged_insn *x);
enum insn_result control_mov_dr(const struct privileged_insn *x);
enum insn_result control_clts(const struct privileged_insn *x);
enum insn_result control_lmsw(const struct privileged_insn *x);
enum insn_result control_smsw(const struct privileged_insn *x);
enum insn_result control_rdmsr(const struct privileged_insn *x);
enum insn_result control_wrmsr(const struct privileged_insn *x);
enum insn_result control_rdtsc(const struct privileged_insn *x);
enum insn_result control_rdpmc(const struct privileged_insn *x);
enum insn_result control_cli(const struct privileged_insn *x);
enum insn_result control_sti(const struct privileged_insn *x);
enum insn_result control_hlt(const struct privileged_insn *x);
enum insn_result control_invlpg(const struct privileged_insn *x);
enum insn_result control_flush_cache(const struct privileged_insn *x);
enum insn_result control_swapgs(const struct privileged_insn *x);
