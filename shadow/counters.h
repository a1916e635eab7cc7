/*
 * What the shadow backend counts of one VM, by cause.
 */
#pragma once

#include <Zydis/Zydis.h>
#include <stdint.h>

struct mmu_stats;
struct tables;

enum shadow_count {
	SHADOW_HIDDEN_FAULT, /* page faults the guest never sees */
	SHADOW_TABLE_STORE,  /* guest stores to table pages, emulated */
	SHADOW_TABLE_STEP,   /* the same, by single step: not in the emulator's repertoire */
	SHADOW_DEVICE,	     /* accesses to device pages */
	SHADOW_REFLECTED,    /* exceptions delivered to the guest */
	SHADOW_SYSTEM_CALL,  /* INT n and SYSCALL */
	SHADOW_INTERRUPT,    /* interrupts delivered */
	SHADOW_STEP,	     /* single steps to see out an interrupt shadow */
	SHADOW_KICK,	     /* returns from ring 3 without an event */

	/* Privileged instructions. */
	SHADOW_CONTROL,	     /* control and debug registers */
	SHADOW_MSR,
	SHADOW_FLAGS,	     /* CLI, STI, PUSHF, POPF */
	SHADOW_RETURN,	     /* IRET, SYSRET, far RET */
	SHADOW_PORT,	     /* IN, OUT, INS, OUTS */
	SHADOW_SEGMENT,	     /* selectors and descriptor tables */
	SHADOW_INVLPG,
	SHADOW_HLT,
	SHADOW_OTHER,
	SHADOW_COUNTS
};

struct shadow_counters {
	uint64_t count[SHADOW_COUNTS];
};

/* Counts a privileged instruction by its kind. */
void counters_privileged(struct shadow_counters *c, ZydisMnemonic mnemonic);

/* All of them, and the tables' own, by name. */
void counters_report(const struct shadow_counters *c, const struct tables *t, struct mmu_stats *stats);
