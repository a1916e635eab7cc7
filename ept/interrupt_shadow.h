/*
 * The interrupt shadow of direct mode: the instruction behind STI comes before any interrupt.
 *
 * KVM can be asked to stop as soon as a shadow is over, but not every CPU keeps one over VMRUN: QEMU's ignores the shadow
 * in its VMCB (AMD APM vol. 2, 15.21.5), so that the stop comes before the instruction, or the next exit tells of no
 * shadow. An interrupt delivered there, between STI and HLT, leaves the guest halted for ever. Hence a shadow that was
 * seen counts until RIP has moved, and the guest runs for a moment without a window. An instruction that jumps to itself
 * looks as if it had not been executed: after INTERRUPT_SHADOW_TRIES moments, each twice as long, it has been.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

#define INTERRUPT_SHADOW_TRIES 8u

struct interrupt_shadow {
	uint64_t rip;	    /* of the instruction it covers */
	unsigned int tries; /* to run that; 0 = there is no shadow */
};

/* Whether a shadow that was seen still counts. */
bool interrupt_shadow_lasts(struct interrupt_shadow *s, struct vcpu *v);

/* The guest has IF = 1 and an interrupt waits. True: a shadow covers the next instruction, which the next entry is for. */
bool interrupt_shadow_see_out(struct interrupt_shadow *s, struct vcpu *v);
