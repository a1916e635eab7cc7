/*
 * A virtual CPU: its KVM side, its thread's mailbox, and the ways in and out of guest code.
 *
 * One thread runs a vCPU and owns it, its VM's devices and its VM's clock. Others reach it by vcpu_post(): the work runs
 * on the vCPU's thread between guest instructions (after vcpu_drain(), if it looks at the state). A kick makes KVM_RUN
 * return soon; it is never lost, because the order is: raise `kicked`, raise immediate_exit, signal.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vmm/access.h"

struct cpu_state;
struct kvm_run;
struct pollfd;
struct vm;

#define VCPU_EXIT_KINDS 48 /* KVM_EXIT_* below this are counted one by one */

/* Work posted to a vCPU. Owned by the poster until run() has been called; run() may free it. */
struct vcpu_work {
	void (*run)(struct vcpu_work *w, struct vm *vm);
	struct vcpu_work *next;
};

struct vcpu {
	struct vm *vm;
	int fd;
	struct kvm_run *run; /* shared with KVM */
	struct access_port port;
	bool halted;
	uint64_t exits[VCPU_EXIT_KINDS];
	uint64_t exits_interrupted; /* KVM_RUN returned by a signal or immediate_exit */

	pthread_t thread; /* joined by whoever started it */
	bool has_thread;  /* it has not been joined */
	_Atomic pid_t tid; /* where kicks go; 0 = nobody runs this vCPU */
	timer_t timer;
	bool has_timer;
	uint64_t armed; /* virtual time the timer is armed for, CLOCK_NEVER = it is not; see vcpu_forget_timer() */
	uint64_t brief; /* see vcpu_be_brief(); 0 = as long as it likes */

	_Atomic uint32_t kicked; /* a futex: 1 = look at the mailbox, do not sleep */
	pthread_mutex_t lock;	 /* of the mailbox */
	struct vcpu_work *first, *last;
	bool closed; /* the thread takes no more work */
};

/* Prepares the process to kick vCPUs. Once, before any thread starts. Returns 0 or a logged -errno. */
int vcpu_init_process(void);

/* Makes vCPU 0 of vm, with the VM's CPU model. Returns 0 or a logged -errno. */
int vcpu_create(struct vcpu *v, struct vm *vm);
void vcpu_destroy(struct vcpu *v);

/* Own thread: from now on, or no longer, this is the thread that kicks are for. */
void vcpu_begin_thread(struct vcpu *v);
void vcpu_end_thread(struct vcpu *v);

/* Any thread: makes the vCPU's thread look at its mailbox soon, whatever it is doing. Async-signal-safe. */
void vcpu_kick(struct vcpu *v);

/* Any thread: has `w` run on the vCPU's thread. Returns false if that thread is done, and w will not run. */
bool vcpu_post(struct vcpu *v, struct vcpu_work *w);

/* Own thread: runs what was posted. */
void vcpu_take_work(struct vcpu *v);

/*
 * Own thread, as its last act: runs what was still posted; from then on vcpu_post() fails. Who sees it fail sees all that
 * this thread has done to its VM, too.
 */
void vcpu_close_mailbox(struct vcpu *v);

/* Own thread: enters the guest once. Returns as kvm_run(), or -ECANCELED if RAM is lost; the exit is counted. */
int vcpu_enter(struct vcpu *v);

/* Own thread: has the next vcpu_enter() arm the timer anew, because the VM's clock has left the host's. */
void vcpu_forget_timer(struct vcpu *v);

/* Own thread: has the next vcpu_enter() end after so many ns, whatever the VM's clock says. */
void vcpu_be_brief(struct vcpu *v, uint64_t ns);

/* Own thread: sleeps until kicked or until the VM's clock reaches its next timer. */
void vcpu_sleep(struct vcpu *v);

/* The same, and a descriptor that is as `fds` ask ends the sleep, too. */
void vcpu_sleep_watching(struct vcpu *v, struct pollfd *fds, unsigned int count);

/* Own thread: sleeps until kicked, whatever the clock says. */
void vcpu_wait(struct vcpu *v);

/* Own thread: as vcpu_enter(), but a timer ends it after about `us` microseconds. */
int vcpu_enter_briefly(struct vcpu *v, unsigned int us);

/*
 * Own thread: completes a port or MMIO operation that is half done inside KVM, so that the vCPU stands between two guest
 * instructions. May complete further accesses of the same instruction, which go through the exit table as always.
 * Returns 0, -ECANCELED if RAM is lost, or a logged -errno.
 */
int vcpu_drain(struct vcpu *v);
