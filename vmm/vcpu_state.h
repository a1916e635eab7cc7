/*
 * Between KVM's vCPU and struct cpu_state, taking KVM's registers for the guest's own. That is all a direct backend needs
 * for import and export; a shadow backend starts from here and puts the guest's view in place of its own.
 */
#pragma once

struct cpu_state;
struct vcpu;

/* The vCPU is drained (vcpu.h). Return 0 or a logged -errno; a failed set leaves the vCPU unusable. */
int vcpu_get_state(struct vcpu *v, struct cpu_state *cs);
int vcpu_set_state(struct vcpu *v, const struct cpu_state *cs);
