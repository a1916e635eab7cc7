/*
 * A virtio console of one port: bytes out, bytes in, no size and no control queue.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.3.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/virtio_device.h"

struct virtio_console {
	struct virtio_device v;
	void (*put)(void *arg, uint8_t byte);
	void *arg;
};

/* Reset, on the bus. `put` gets every byte that the guest sends, on the vCPU's thread. */
void virtio_console_init(struct virtio_console *c, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 void (*put)(void *arg, uint8_t byte), void *arg);

/* How many bytes from outside fit now: what the guest's next buffer has room for. */
size_t virtio_console_room(struct virtio_console *c);

/* Receives bytes from outside, which must have room. The caller announces them (access.h). */
void virtio_console_receive(struct virtio_console *c, const void *bytes, size_t size);
