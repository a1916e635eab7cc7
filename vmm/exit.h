/*
 * The exit table: what to do when KVM_RUN returns with a reason.
 */
#pragma once

struct vcpu;

/* Handles the exit that the vCPU's shared area describes, the MMU backend first. The VM may have ended afterwards. */
void exit_handle(struct vcpu *v);

/* Name of a KVM_EXIT_* number as statistics and errors print it, NULL if it has none. */
const char *exit_name(unsigned int reason);
