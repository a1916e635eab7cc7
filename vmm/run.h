/*
 * The run loop: what a vCPU's thread does from start to end of its VM.
 */
#pragma once

#include <stdbool.h>

struct vm;

/*
 * Starts the VM's clock and runs its vCPU on the calling thread until the VM has ended (vm->end says how). The mailbox of
 * the vCPU stays open: the caller closes it when nothing is left to be done on this thread.
 */
void run_vm(struct vm *vm);

/*
 * For a debugger (debug.h): what has become due outside the guest, and the guest until its next exit. Returns false, and does nothing,
 * when the VM has ended and all it had to say is out.
 */
bool run_turn(struct vm *vm);

/* For who steers (steering.h): an interrupt is pending, and the guest can take it now. */
void run_deliver_interrupt(struct vm *vm);
