/*
 * Where a column's results come from: the MMU mode, and everything about the host that they depend on.
 */
#pragma once

#include <stdint.h>

#include "compare/comparison.h"

struct mmu_ops;
struct program;

/* In a column's `clocksource`: its host is an emulation in which time is what is executed (QEMU's -icount; tests/lab). */
#define COLUMN_CLOCK_OF_INSTRUCTIONS "1 ns an instruction"

/*
 * Fills every field but name, host_page and the floors. The files of the host are looked for below `root`, "" for the real
 * one. Never fails: what cannot be found out is "unknown".
 */
void column_describe(struct column *c, const struct mmu_ops *mmu, const struct program *p, const char *root);

/*
 * Bytes that the TLB of this host's processor reaches with 4 KiB pages: its last level for data. *where says what told so:
 * "CPUID 0x80000006" (AMD APM vol. 3, E.4.6), "CPUID 0x18" (Intel SDM vol. 2A, CPUID), or "assumed".
 */
uint64_t column_tlb_reach(const char **where);

/* What CPUID says in a leaf and subleaf: EAX, EBX, ECX, EDX. */
struct cpuid_words {
	uint32_t a, b, c, d;
};

/* The same for the processor that `cpuid` shows; it returns zeros for a leaf that is not there. */
uint64_t column_tlb_reach_of(struct cpuid_words (*cpuid)(uint32_t leaf, uint32_t subleaf), const char **where);
