/*
 * States that come from outside: what the shadow can run, and where the guest stands in them. A state may stand where no instruction
 * can be, as a CPU may that is about to fault; so may one whose last instruction was emulated at the end of the address space.
 * The monitor's IRETQ would fault there in ring 0, so such a fault is the VMM's to deliver.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_state;

/* Why the guest cannot run in shadow mode from this state, in words; NULL if it can. */
const char *admit_reason(const struct cpu_state *cs);

/* RFLAGS as a CPU would hold them: without what does not exist. */
uint64_t admit_rflags(uint64_t rflags);

/* Can the CPU fetch at RIP at all? 64-bit code stands at canonical addresses, other code within its segment. */
bool admit_rip(const struct cpu_state *cs);
