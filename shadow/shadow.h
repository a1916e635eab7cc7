/*
 * The shadow MMU backend (--mmu=shadow): the guest, kernel and all, runs in ring 3 on page tables of ours.
 *
 * The guest's state is kept as a struct cpu_state, in one of three conditions:
 *
 *	IN_MONITOR  the real CPU stands in the monitor after an event; cs is the whole truth, and becomes the real
 *		    registers by the way out before the next run
 *	IN_GUEST    the real CPU stands between two guest instructions in ring 3 (a kick ended KVM_RUN there); the real
 *		    registers are the truth, cs knows only what ring 3 cannot change
 *	OUTSIDE     the real CPU is not set up (after an import); cs is the truth
 */
#pragma once

#include "vmm/mmu.h"

extern const struct mmu_ops shadow_mmu;
