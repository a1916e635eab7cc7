/*
 * The floors of the shadow benchmark: what any monitor must pay that lets a guest run in ring 3 and takes its events. In
 * processor time, as all of that benchmark.
 */
#pragma once

struct kvm;

enum bare_event { BARE_FAULT, BARE_PROTECTION, BARE_INT, BARE_EVENTS };

/*
 * An event of ring 3 (a page fault, #GP, INT n), delivered to a stub of one `out`, through KVM to user space, and back by IRETQ:
 * its mean, µs.
 */
double bare_event_us(const struct kvm *k, enum bare_event event);

/*
 * What KVM itself spends on a page that ring 3 touches for the first time after its table entry was made, µs: where KVM
 * keeps shadow tables of its own, a fault. The pages lie apart, so that none is filled along with another.
 */
double bare_refill_us(const struct kvm *k);
