/*
 * A virtio entropy device: bytes that the guest cannot foresee.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.4.
 *
 * They come from outside through `fill`, at most VIRTIO_ENTROPY_BYTES a request: a guest needs seeds, and whoever records it
 * keeps each of them. A request that gets none, because the host failed, is given back empty.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/virtio_device.h"

#define VIRTIO_ENTROPY_BYTES 64u

struct virtio_entropy {
	struct virtio_device v;
	/* Puts `size` bytes at `bytes` and announces them at the access seam; returns 0 or a logged -errno. */
	int (*fill)(void *arg, void *bytes, size_t size);
	void *arg;
};

/* Reset, on the bus. */
void virtio_entropy_init(struct virtio_entropy *e, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 int (*fill)(void *arg, void *bytes, size_t size), void *arg);
