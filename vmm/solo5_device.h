/*
 * The hypercalls of a Solo5 unikernel (solo5_abi.h): a port for each, in place of the devices of guest/abi.h.
 *
 * A call whose addresses are wrong, and whatever else no unikernel does, ends the VM for what the guest did. What a host does not
 * do for a device (a bad disk, a file that shrank) is an error that the unikernel is told. Whatever a call brings into guest
 * RAM from outside, its results too, is announced at the access seam as ACCESS_SOLO5 bytes, in the order of their addresses'
 * use, with the position before the call's.
 *
 * A poll that has to wait completes as an access at once, and the vCPU then waits outside the guest: solo5_wait().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/solo5_units.h"

struct solo5_options;
struct vm;

struct solo5_device {
	struct device device;
	struct vm *vm;
	struct solo5_units units;
	struct clock_timer timer; /* ends the wait */
	bool polling;		  /* the unikernel waits in a poll */
	uint64_t poll_gpa;	  /* of the poll's structure */
	uint64_t deadline;	  /* of the virtual clock */
};

/* Puts the device on the VM's bus. No devices are open yet: solo5_units_open(). */
void solo5_device_init(struct solo5_device *d, struct vm *vm);

/* vCPU's thread, instead of running the guest while d->polling: sleeps until a frame, the deadline or a kick, and ends the poll. */
void solo5_wait(struct solo5_device *d);
