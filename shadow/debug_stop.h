/*
 * The shadow's part of debugging (vmm/debug.h): the guest's instructions are stopped at by TF, by INT3, and by guards of the tables, all
 * of which the monitor sees on any host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/debug.h"

struct shadow_vm;

extern const struct debug_mmu_ops debug_stop_ops;

/* A guard has been opened for the instruction at RIP, which touches the page at gpa. It may not get to that. */
void debug_stop_guarded(struct shadow_vm *s, uint64_t gva, unsigned int access, uint64_t gpa);

/* An INT3 was executed at RIP. Returns whether it is a breakpoint, where the guest stops. */
bool debug_stop_int3(struct shadow_vm *s);

/* The guest is to get a page fault, for a fetch at gva. Returns whether there is a breakpoint, where it stops before that. */
bool debug_stop_unfetched(struct shadow_vm *s, uint64_t gva);

/* An event has been handled; what it was for was executed, with an access or without, or will be (s->again). */
void debug_stop_executed(struct shadow_vm *s, bool is_access);

/* Whether the next instruction is to be stopped behind. */
bool debug_stop_wants_step(const struct shadow_vm *s);
