/*
 * Thin layer over /dev/kvm: every ioctl the project uses, once, typed, and named in its error. Nothing here keeps state
 * but `struct kvm`, the process's one handle on the host: what does not change between VMs is asked once.
 *
 * Unless said otherwise a function returns 0, or a logged -errno. Reference: Linux, Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>

struct kvm {
	int fd;
	size_t run_size; /* bytes of a vCPU's shared area */
	struct kvm_cpuid2 *supported; /* what KVM_GET_SUPPORTED_CPUID said */
};

#define KVM_MAX_CPUID 256

/*
 * Opens /dev/kvm and asks what all VMs need. A host that lacks an interface we cannot do without is a logged -ENOTSUP
 * that names it; a missing device or permission says what to do about it.
 */
int kvm_open(struct kvm *k);
void kvm_close(struct kvm *k);

/* Name of an interface that the program cannot do without and this KVM lacks, NULL = all are there. Does not log. */
const char *kvm_lacks(int fd);

/* What KVM_CHECK_EXTENSION says of `cap` (KVM_CAP_*), 0 = not there. Does not log. */
int kvm_capability(int fd, int cap);

/* New VM or vCPU: a file descriptor, or a logged -errno. */
int kvm_create_vm(const struct kvm *k);
int kvm_create_vcpu(int vm_fd, unsigned long id);

int kvm_enable_cap(int vm_fd, struct kvm_enable_cap *cap);
int kvm_set_slot(int vm_fd, struct kvm_userspace_memory_region *slot);
int kvm_get_dirty_log(int vm_fd, struct kvm_dirty_log *log);

/*
 * Runs the vCPU until an exit. Returns 0 with the reason in the shared area, -EINTR when a signal or immediate_exit
 * ended it (not logged), or a logged -errno.
 */
int kvm_run(int vcpu_fd);

int kvm_get_regs(int vcpu_fd, struct kvm_regs *regs);
int kvm_set_regs(int vcpu_fd, struct kvm_regs *regs);
int kvm_get_sregs(int vcpu_fd, struct kvm_sregs *sregs);
int kvm_set_sregs(int vcpu_fd, struct kvm_sregs *sregs);
int kvm_get_xsave(int vcpu_fd, struct kvm_xsave *xsave);
int kvm_set_xsave(int vcpu_fd, struct kvm_xsave *xsave);
int kvm_get_debugregs(int vcpu_fd, struct kvm_debugregs *dr);
int kvm_set_debugregs(int vcpu_fd, struct kvm_debugregs *dr);
int kvm_get_events(int vcpu_fd, struct kvm_vcpu_events *events);
int kvm_set_events(int vcpu_fd, struct kvm_vcpu_events *events);
int kvm_set_cpuid(int vcpu_fd, struct kvm_cpuid2 *cpuid);
int kvm_translate(int vcpu_fd, struct kvm_translation *t);

/* Rate of the vCPU's time-stamp counter in kHz, 0 where the host has no steady one, or a logged -errno. */
int kvm_get_tsc_khz(int vcpu_fd);

/* Queues an external interrupt; the vCPU must be able to take it. */
int kvm_interrupt(int vcpu_fd, unsigned int vector);

/* Fewer MSRs done than asked is a logged -EINVAL that names the first one refused. */
int kvm_get_msrs(int vcpu_fd, struct kvm_msrs *msrs);
int kvm_set_msrs(int vcpu_fd, struct kvm_msrs *msrs);
