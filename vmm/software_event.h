/*
 * Software events that KVM keeps to itself.
 *
 * INT3, INT 3, INT 4 and other INT n can be queued in KVM when KVM_RUN is interrupted, and KVM_GET_VCPU_EVENTS does not tell: RIP
 * is supposed to stand before the instruction still, so that it is simply executed again. Two traps follow. State set from
 * outside then meets the queued event, which is delivered wherever the new state stands. And a host that lets the CPU execute
 * INT 3 and INT 4, or interprets them (kvm_pvm), queues them with RIP behind the instruction: who believes what is told loses
 * the event.
 *
 * A guest with IF = 1 gives it away: of all that makes KVM refuse it an interrupt, KVM reports everything but this.
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

struct cpu_state;
struct mem;

enum software_event {
	SOFTWARE_EVENT_NONE,
	SOFTWARE_EVENT_NEXT,   /* INT is the next instruction: executed or delivered, it is the next thing to happen */
	SOFTWARE_EVENT_QUEUED, /* INT lies behind RIP, and KVM has its event */
	SOFTWARE_EVENT_MAYBE,  /* INT lies behind RIP, its event queued or done long since: only running on tells */
};

/*
 * What may be queued in a vCPU whose guest stands at cs->rip, by the guest's code there, what KVM told, and the shared area as the
 * last KVM_RUN left it.
 */
enum software_event software_event_at(struct mem *m, const struct cpu_state *cs, const struct kvm_vcpu_events *told,
				      const struct kvm_run *run);

/* Bytes of the instruction that lies behind cs->rip and raised `vector`; 0 if none does. */
unsigned int software_event_length(struct mem *m, const struct cpu_state *cs, uint8_t vector);
