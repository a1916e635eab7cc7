/*
 * Events that are the guest's own go to its kernel: deliver.h for a whole VM, which counts them, and which a guest that cannot
 * take them does not survive.
 */
#pragma once

#include <stdint.h>

#include "shadow/deliver.h"

struct shadow_vm;

/* Exceptions and software interrupts; `length` as in deliver(). Afterwards cs stands at the handler, or the VM has ended. */
void reflect(struct shadow_vm *s, const struct trap *trap, enum deliver_source source, uint8_t length);

/* An interrupt to the guest, which is interruptible. */
void reflect_interrupt(struct shadow_vm *s, uint8_t vector);

/* What was pending in an imported state, and the fault of a RIP that the CPU cannot fetch at. */
void reflect_pending(struct shadow_vm *s);
