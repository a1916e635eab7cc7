/*
 * Instructions that the VMM executes in the guest's place, the one at cs.rip at a time: those that touch table pages or
 * devices, and those that only ring 0 may execute, whereas the guest's kernel is in ring 3. What comes of one is all there
 * afterwards: cs stands behind it, or at the handler of its fault, or of the single-step trap that the guest asked for; or
 * the VM has ended.
 */
#pragma once

#include <stdbool.h>

struct access;
struct gmem;
struct shadow_vm;
struct trap;

/* One with memory operands. Returns false if that could not be done; then nothing has happened. */
bool emulate_memory(struct shadow_vm *s);

/* One that faulted in ring 3. `fault` is what the CPU said, and what the guest gets if the instruction is none of ring 0's. */
void emulate_privileged(struct shadow_vm *s, const struct trap *fault);

/* For gmem: an instruction touches a device. */
bool emulate_device_access(struct gmem *g, struct access *a);
