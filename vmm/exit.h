/*
 * The exit table: what to do when KVM_RUN returns with a reason.
 */
#pragma once

#include <stdbool.h>

struct access;
struct vcpu;

/* Handles the exit that the vCPU's shared area describes, the MMU backend first. The VM may have ended afterwards. */
void exit_handle(struct vcpu *v);

/* Name of a KVM_EXIT_* number as statistics and errors print it, NULL if it has none. */
const char *exit_name(unsigned int reason);

/*
 * Completes an access to a gpa that is not RAM: a device, or the device hole, or the guest is killed for it. Returns false
 * if that ended the VM.
 */
bool exit_complete_mmio(struct vcpu *v, struct access *a);
