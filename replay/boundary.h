/*
 * Where the guest can be interrupted so that it can be again: between two instructions that are the same ones in every mode and on
 * every host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu_state.h"

struct vm;

struct boundary {
	struct cpu_state cpu;
	bool open;  /* the guest takes interrupts */
	uint64_t rip;   /* of the next instruction that does anything: what is compared */
	bool in_string; /* it may be in the middle of a string instruction: where there was an access, nothing may come now */
};

/*
 * The vCPU's thread, between guest runs: has the guest stand between two instructions, what is half done completed, and says where. More
 * accesses may be complete then, and the guest may have ended. Returns 0 or a logged -errno.
 */
int boundary_stand(struct vm *vm, struct boundary *b);

/* General registers, RIP, CR3 and what of RFLAGS has the same value in every mode. */
#define BOUNDARY_REGISTERS (CPU_GPR_COUNT + 3u)

extern const char *const boundary_register_names[BOUNDARY_REGISTERS];

void boundary_registers(const struct boundary *b, uint64_t registers[BOUNDARY_REGISTERS]);

/* A check of them, for an interrupt's event. */
uint32_t boundary_check(const struct boundary *b);

/* Whether all of these are the same in two states of a guest. */
bool boundary_is_same(const struct cpu_state *a, const struct cpu_state *b);
