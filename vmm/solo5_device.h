/*
 * The hypercalls of a Solo5 unikernel (solo5_abi.h): a port for each, in place of the devices of guest/abi.h.
 *
 * A call whose addresses are wrong, and whatever else no unikernel does, ends the VM for what the guest did. What a host does not
 * do for a device (a bad disk, a file that shrank) is an error that the unikernel is told. Whatever a call brings into guest
 * RAM from outside is announced at the access seam as ACCESS_SOLO5 bytes, with the position before the call's: of a device first whether it
 * can be asked that (4 bytes: enum solo5_result), and if so, what came of it (4 bytes; of a frame that is read the structure from its size
 * on), and then the data that were read. So a tap can say all of it without the device.
 *
 * A poll that has to wait completes as an access at once, and the vCPU then waits outside the guest: solo5_wait(). What ends it is
 * announced with the position after the call's then.
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

/* vCPU's thread, instead of running the guest while d->polling: ends the poll, or has nothing and is idle (solo5_sleep(), steering.h). */
void solo5_wait(struct solo5_device *d);

/* Sleeps until a frame has come, the deadline, or a kick. */
void solo5_sleep(struct solo5_device *d);
