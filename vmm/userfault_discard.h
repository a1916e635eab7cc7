/*
 * Pages whose contents the guest has no use for any more: they become zero, and what the host has for them is its own again, in
 * whatever state they are.
 *
 * Own thread of the vCPU, guest not running, in whole pages of one region. They count as written (mem.h), before; nobody sees them in
 * between but the threads that may look at RAM while the guest runs, which find the old bytes or zeros. A page that
 *
 *	is absent	is its pager's no longer: it is zero without having been brought;
 *	a guard wants	is saved first, by the way of every write;
 *	somebody holds	is waited for, and so are those around it if they are a file's and a mapping for all of them pays;
 *	is pinned	stays where it is, and is written with zeros: a device is at work there;
 *	is a file's	is written with zeros as well, unless so many lie in a row that a mapping in their place pays, and only where RAM is
 *			registered. The pages of a clone that it has not written yet cost nothing while they stay so.
 *
 * Listeners are told of all that was not written (mem_zeroed()).
 */
#pragma once

#include <stdint.h>

#include "vmm/userfault.h"

/* Returns how many pages were not written, of which the host has back what they were. RAM may be lost on the way. */
uint64_t userfault_discard(struct userfault *u, uint64_t gpa, uint64_t size);
