/*
 * What the VMM does when an event of the guest has ended in one of the monitor's stubs.
 */
#pragma once

#include <stdint.h>

struct shadow_vm;

/*
 * Handles the event `vector` (MONITOR_SYSCALL included) with its error code; s->cs stands where it happened. Afterwards cs
 * stands where the guest goes on, or the VM has ended.
 */
void trap_handle(struct shadow_vm *s, int vector, uint32_t error);
