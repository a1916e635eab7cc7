/*
 * A virtio device without its registers: status, features, queues and interrupts, whichever transport shows them to the driver
 * (virtio_mmio.h, virtio_pci.h).
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, sections 2 (status, features) and 3.1 (initialization). Only modern devices:
 * VIRTIO_F_VERSION_1.
 *
 * A kind of device (block, entropy, console, balloon) embeds struct virtio_device as its first member and says in its virtio_ops what it
 * does. What a driver does wrong breaks its queue and sets DEVICE_NEEDS_RESET; nothing else happens to it or to the VM.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/irq.h"
#include "vmm/virtqueue.h"

struct mem;
struct state;
struct virtio_device;

#define VIRTIO_WINDOW 0x1000u /* bytes of device memory */
#define VIRTIO_MAX_QUEUES 5u

#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER 2u
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

#define VIRTIO_ID_BLOCK 2u
#define VIRTIO_ID_CONSOLE 3u
#define VIRTIO_ID_ENTROPY 4u
#define VIRTIO_ID_BALLOON 5u

#define VIRTIO_KEPT -1

struct virtio_ops {
	const char *name;
	uint32_t id;
	unsigned int queues;

	/*
	 * Serves one chain of a queue; returns how many bytes of it were written, from its first writable byte on, or VIRTIO_KEPT:
	 * then the device gives it back later (virtqueue_push(), virtio_device_tell()). *c is good for the call only.
	 */
	int64_t (*serve)(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c);

	/* Queues that are served when they are notified, a bit for each; others the device looks at by itself. */
	uint32_t served;

	/*
	 * Sleeps until every chain that was kept has been given back: before a reset, before a queue is stopped, before the state is
	 * saved. NULL: none is kept.
	 */
	void (*settle)(struct virtio_device *v);

	/* What the device has beyond the transport; may be NULL. */
	void (*visit)(struct virtio_device *v, struct state *s);
};

/* A layout of registers in a window of device memory. */
struct virtio_transport {
	void (*access)(struct device *d, unsigned int range, struct access *a); /* of `device` in a virtio_device */
};

/* Where a device is. */
struct virtio_place {
	const struct virtio_transport *transport;
	uint64_t gpa;
	struct irq_line irq;
};

struct virtio_device {
	struct device device;
	const struct virtio_ops *ops;
	struct irq_line irq;
	struct mem *mem;
	uint64_t features;   /* offered */
	const void *config;  /* the device's own configuration, which does not change; owned by the kind of device */
	uint32_t config_size;

	uint64_t driver_features;
	uint32_t device_features_select, driver_features_select, queue_select;
	uint32_t status;
	uint32_t interrupts; /* pending: what InterruptStatus shows */
	struct virtqueue queue[VIRTIO_MAX_QUEUES];

	uint64_t notified, interrupted; /* statistics: not part of the state */
};

/* Reset, on the bus. features are those of the kind of device, which sets `config` afterwards. */
void virtio_device_init(struct virtio_device *v, struct bus *b, const struct virtio_place *place, struct mem *m,
			const struct virtio_ops *ops, uint64_t features);

/* For the kinds of devices. */

/* Whether the driver accepted the feature with this mask. */
bool virtio_device_has(const struct virtio_device *v, uint64_t feature);

/* Whether the driver is ready: only then may its buffers be touched. */
bool virtio_device_live(const struct virtio_device *v);

/* Interrupts the driver, if it wants that, for what was pushed to queue n. */
void virtio_device_tell(struct virtio_device *v, unsigned int n);

/* A queue was found broken: the driver is told that nothing but a reset helps. */
void virtio_device_break(struct virtio_device *v);

/* For the transports: what registers do. The queue is the one that queue_select names; without one nothing happens. */

/* The driver sets bits of the status, 0 resets. FEATURES_OK stays away where features do not fit: the driver looks. */
void virtio_device_set_status(struct virtio_device *v, uint32_t value);

/* The half that the selector names, of what is offered and of what the driver accepts. */
uint32_t virtio_device_features(const struct virtio_device *v);
void virtio_device_accept(struct virtio_device *v, uint32_t value);

struct virtqueue *virtio_device_queue(struct virtio_device *v); /* NULL: there is none */
void virtio_device_set_queue_size(struct virtio_device *v, uint32_t size);
void virtio_device_set_queue_ready(struct virtio_device *v, bool ready);

enum virtio_ring { VIRTIO_DESCRIPTORS, VIRTIO_DRIVER_RING, VIRTIO_DEVICE_RING };

/* Half of the gpa of one of the queue's three parts: 0 = low, 1 = high. */
void virtio_device_set_queue_address(struct virtio_device *v, enum virtio_ring ring, unsigned int half, uint32_t value);
uint32_t virtio_device_queue_address(struct virtio_device *v, enum virtio_ring ring, unsigned int half);

void virtio_device_notify(struct virtio_device *v, uint32_t queue);
void virtio_device_acknowledge(struct virtio_device *v, uint32_t interrupts);

/* Reads the device's own configuration from byte `at` on; there are zeros behind it. */
void virtio_device_read_config(const struct virtio_device *v, uint64_t at, struct access *a);
