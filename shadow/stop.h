/*
 * The guest has stopped: its state comes out of the real vCPU, which stands in one of the monitor's stubs, in ring 3, or on the
 * way out from one to the other.
 */
#pragma once

#include <stdint.h>

struct shadow_vm;

/* The vCPU stopped in the stub of *vector with *error: takes the guest's state over into cs. Returns 0 or a logged -errno. */
int stop_take_event(struct shadow_vm *s, int *vector, uint32_t *error);

/* SYSCALL pushes nothing: takes RIP and RFLAGS from where the CPU left them, RCX and R11. */
void stop_take_syscall(struct shadow_vm *s);

/*
 * After KVM_RUN was interrupted: brings cs up to date. A stub that was entered is run to its `out` first, and then counts as
 * an exit like any other: 1 is returned, and the caller handles it. Otherwise 0, or a logged -errno.
 */
int stop_catch_up(struct shadow_vm *s);
