/*
 * The guest goes on: its state goes into the real vCPU, which runs it in ring 3 under the monitor.
 */
#pragma once

struct shadow_vm;

/* Makes the real CPU ready so that the next KVM_RUN continues at cs. Returns 0 or a logged -errno. */
int resume_prepare(struct shadow_vm *s);
