/*
 * Between KVM's vCPU and struct cpu_state, taking KVM's registers for the guest's own. That is all a direct backend needs
 * for import and export; a shadow backend starts from here and puts the guest's view in place of its own.
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/cpu_state.h"

struct vcpu;

/* Parts of the state that KVM keeps apart; combine. */
enum vcpu_part {
	VCPU_SREGS = 1, /* segments, tables, control registers, EFER */
	VCPU_REGS = 2,	/* general registers, RIP, RFLAGS */
	VCPU_MSRS = 4,
	VCPU_XSAVE = 8,
	VCPU_DEBUGREGS = 16,
	VCPU_EVENTS = 32, /* pending events, interrupt shadow */
	VCPU_ALL = 63
};

/* The vCPU is drained (vcpu.h). Return 0 or a logged -errno; a failed set leaves the vCPU unusable. */
int vcpu_get_parts(struct vcpu *v, struct cpu_state *cs, unsigned int parts);
int vcpu_set_parts(struct vcpu *v, const struct cpu_state *cs, unsigned int parts);

/* All parts, and `halted`. */
int vcpu_get_state(struct vcpu *v, struct cpu_state *cs);
int vcpu_set_state(struct vcpu *v, const struct cpu_state *cs);

/* One MSR of the state, as the vCPU has it now. Return 0 or a logged -errno. */
int vcpu_read_msr(struct vcpu *v, enum cpu_msr msr, uint64_t *value);
int vcpu_write_msr(struct vcpu *v, enum cpu_msr msr, uint64_t value);

/* General registers between KVM's structure and cpu_state's order; RIP and RFLAGS are left alone. */
void vcpu_gprs_from_kvm(uint64_t gpr[CPU_GPR_COUNT], const struct kvm_regs *regs);
void vcpu_gprs_to_kvm(struct kvm_regs *regs, const uint64_t gpr[CPU_GPR_COUNT]);
