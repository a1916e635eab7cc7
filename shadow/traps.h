/*
 * What the VMM does when an event of the guest has ended in one of the monitor's stubs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct access;
struct gmem;
struct shadow_vm;

/*
 * Handles the event `vector` (MONITOR_SYSCALL included) with its error code; s->cs stands where it happened. Afterwards cs
 * stands where the guest goes on, or the VM has ended.
 */
void trap_handle(struct shadow_vm *s, int vector, uint32_t error);

/* Delivers an interrupt to the guest, which is interruptible. */
void trap_interrupt(struct shadow_vm *s, uint8_t vector);

/* Delivers what was pending in an imported state. */
void trap_pending(struct shadow_vm *s);

/* For gmem: the guest touches a device. */
bool trap_device_access(struct gmem *g, struct access *a);
