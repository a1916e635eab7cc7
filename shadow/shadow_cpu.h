/*
 * Between the guest's state (struct cpu_state) and the real vCPU, which runs it in ring 3 under the monitor.
 * All functions return 0 or a logged -errno unless they say more.
 */
#pragma once

#include <stdint.h>

struct shadow_vm;

/* The vCPU stopped in the stub of *vector with *error: takes the guest's state over into cs. */
int shadow_take_event(struct shadow_vm *s, int *vector, uint32_t *error);

/* SYSCALL pushes nothing: takes RIP and RFLAGS from where the CPU left them, RCX and R11. */
void shadow_take_syscall(struct shadow_vm *s);

/*
 * After KVM_RUN was interrupted: brings cs up to date. A stub that was entered is run to its `out` first, and then counts as
 * an exit like any other: 1 is returned, and the caller handles it.
 */
int shadow_catch_up(struct shadow_vm *s);

/* Makes the real CPU ready so that the next KVM_RUN continues at cs. */
int shadow_prepare(struct shadow_vm *s);

/* Parts of cs that live in the real CPU while the guest runs: read for an export, written after an import. */
int shadow_get_rest(struct shadow_vm *s);
int shadow_set_rest(struct shadow_vm *s);
