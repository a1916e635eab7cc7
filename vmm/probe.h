/*
 * Tiny guests that find out what a host really does: a VM with a page of code (probe_guest.S), run until the next thing
 * it reports. Every VM has a second in all; a guest that says nothing is stopped. doctor_probes.c reads the results.
 */
#pragma once

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct kvm;

enum probe_stop {
	PROBE_EVENT,   /* an exception or INT n came to ring 0: `vector` */
	PROBE_REPORTED, /* ring 0 wrote to PROBE_REPORT */
	PROBE_REFUSED, /* KVM cannot run the instruction */
	PROBE_STUCK,   /* a second is over */
	PROBE_BROKE,   /* the VM came to an end no probe expects: `exit` */
};

struct probe_result {
	enum probe_stop stop;
	unsigned int vector;
	unsigned int exit; /* KVM_EXIT_* */
};

struct probe {
	int vm_fd, fd;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *ram;
	timer_t timer;
	uint64_t deadline;
};

/* Makes the VM; `cpuid` is the CPU it shows. Returns 0, or a logged -errno with nothing left behind. */
int probe_open(struct probe *p, const struct kvm *k, struct kvm_cpuid2 *cpuid);
void probe_close(struct probe *p);

/*
 * Starts at `entry` in ring 0, or with `user` != NULL at `user` in ring 3; both are labels of probe_guest.h. The guest's
 * CR4 gets the bits `cr4` on top. Returns 0 or a logged -errno.
 */
int probe_start(struct probe *p, const unsigned char *entry, const unsigned char *user, uint64_t cr4);

/* Runs until the guest reports. Can be called again after PROBE_EVENT and PROBE_REPORTED. 0 or a logged -errno. */
int probe_run(struct probe *p, struct probe_result *result);

/* Has PROBE_PAGE show the frame at `gpa`, by a store of the host into the guest's live page table. */
void probe_map_page(struct probe *p, uint64_t gpa);
