/*
 * XCHG, XADD and the CMPXCHG family. One vCPU at a time writes guest RAM, so what they lock needs no lock here.
 */
#pragma once

#include "shadow/insn_operand.h"

enum insn_result insn_exchange(const struct execution *x);
enum insn_result insn_exchange_add(const struct execution *x);
enum insn_result insn_compare_exchange(const struct execution *x);

/* CMPXCHG8B and CMPXCHG16B. */
enum insn_result insn_compare_exchange_pair(const struct execution *x);
