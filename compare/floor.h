/*
 * What cannot be had cheaper: the floors that a comparison is read against, measured in the same run. In processor time of
 * the calling thread, as everything that is compared; each call takes some ten milliseconds.
 */
#pragma once

struct kvm;

/*
 * A bare exit: a guest of a few bytes reads a port over and over, and all that is done for it is the next KVM_RUN. The
 * shortest of several batches' means, in us. Returns 0 or a logged -errno.
 */
int floor_exit_us(const struct kvm *k, double *us);

/* A bare loop: a step of the workload that only computes (one multiplication, one addition), without any guest, in ns. */
double floor_loop_ns(void);
