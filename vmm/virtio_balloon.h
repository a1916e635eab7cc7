/*
 * A virtio balloon that only listens: the guest says which pages it has freed (free page reporting), and they are zero from then on, at
 * no cost to the host. It is never asked to give up memory that it has a use for: the target is 0.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.5, above all 5.5.6.7 (free page reporting).
 *
 * What is reported: the whole pages in the buffers that a chain has for the device to write. When the chain comes back they are zero,
 * always: with and without a scavenger, when recorded and when replayed. Parts of pages, and buffers that are to be read, are left alone.
 * VIRTIO_BALLOON_F_PAGE_POISON is not offered, so a guest that counts on what is in its free pages reports none.
 *
 * By the standard the queue of reports is number 4. Drivers that leave out the numbers of queues that are not there, as Linux does,
 * take 2 for it. Both are. Pages that are put into the other queues, which every balloon has, stay the guest's.
 */
#pragma once

#include <stdint.h>

#include "vmm/virtio_device.h"

#define VIRTIO_BALLOON_REPORTING (1ull << 5)
#define VIRTIO_BALLOON_QUEUES 5u

struct virtio_balloon_stats {
	uint64_t reports;  /* chains */
	uint64_t reported; /* pages */
	uint64_t given;	   /* of them: what the host had for them is its own again, the others were written */
};

struct virtio_balloon {
	struct virtio_device v;
	/* Makes whole pages of one region zero; returns how many of them the host has back. */
	uint64_t (*discard)(void *arg, uint64_t gpa, uint64_t size);
	void *arg;
	struct {
		uint32_t pages, actual; /* the target, and what the driver says that it has reached */
	} config;
	struct virtio_balloon_stats stats;
};

/* Reset, on the bus. */
void virtio_balloon_init(struct virtio_balloon *b, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 uint64_t (*discard)(void *arg, uint64_t gpa, uint64_t size), void *arg);
