/*
 * A driver for virtio-mmio devices in the slots of abi.h (VIRTIO 1.2, sections 2.7 and 4.2): one request after the other or
 * several at once, by the queue's bare descriptors, so that an image can also do what no driver should.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_BLOCK 2u
#define VIRTIO_CONSOLE 3u
#define VIRTIO_ENTROPY 4u
#define VIRTIO_BALLOON 5u

#define VIRTIO_QUEUES 5u
#define VIRTIO_SIZE 128u /* entries of each ring */

#define VIRTIO_INDIRECT_DESC (1ull << 28)
#define VIRTIO_EVENT_IDX (1ull << 29)
#define VIRTIO_VERSION_1 (1ull << 32)

/* Flags of a descriptor. */
#define VIRTIO_NEXT 1u
#define VIRTIO_WRITE 2u
#define VIRTIO_INDIRECT 4u

/* Registers that an image may want to touch itself. */
#define VIRTIO_REG_DEVICE 0x008u
#define VIRTIO_REG_QUEUE_SELECT 0x030u
#define VIRTIO_REG_QUEUE_SIZE 0x038u
#define VIRTIO_REG_QUEUE_READY 0x044u
#define VIRTIO_REG_NOTIFY 0x050u
#define VIRTIO_REG_STATUS 0x070u
#define VIRTIO_REG_DESCRIPTORS 0x080u
#define VIRTIO_REG_DRIVER 0x090u
#define VIRTIO_REG_DEVICE_RING 0x0a0u
#define VIRTIO_REG_CONFIG 0x100u

#define VIRTIO_STATUS_LIVE 15u /* ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK */
#define VIRTIO_STATUS_NEEDS_RESET 0x40u

struct virtio_descriptor {
	uint64_t gpa;
	uint32_t size;
	uint16_t flags;
	uint16_t next;
};

struct virtio_available {
	uint16_t flags, index, entry[VIRTIO_SIZE], used_event;
};

struct virtio_used {
	uint16_t flags, index;
	struct {
		uint32_t head, written;
	} entry[VIRTIO_SIZE];
	uint16_t available_event;
};

/* Rings of one queue; a page each. */
struct virtio_rings {
	struct virtio_descriptor *descriptor;
	volatile struct virtio_available *available;
	volatile struct virtio_used *used;
	uint16_t seen;	   /* of the used ring */
	uint16_t announced; /* of the available ring, when the device was last notified */
};

struct virtio {
	unsigned int slot;
	uint64_t features; /* accepted */
	struct virtio_rings queue[VIRTIO_QUEUES];
};

/* Finds the nth device (from 0) of this kind. */
bool virtio_find(struct virtio *v, uint32_t device, unsigned int nth);
uint32_t virtio_get(const struct virtio *v, uint32_t reg);
void virtio_set(const struct virtio *v, uint32_t reg, uint32_t value);
uint64_t virtio_features(const struct virtio *v);

/* Resets the device and starts it with these features (VERSION_1 is added) and so many queues; false if it declines. */
bool virtio_start(struct virtio *v, uint64_t features, unsigned int queues);

/* Fills descriptor i of a queue's table. */
void virtio_describe(struct virtio *v, unsigned int queue, unsigned int i, const volatile void *at, uint64_t size,
		     unsigned int flags, unsigned int next);
/* Puts the chain that begins at `head` into the available ring; the device hears of it at virtio_kick(). */
void virtio_offer(struct virtio *v, unsigned int queue, unsigned int head);
/* Notifies the device, if it wants that; whether it did. */
bool virtio_kick(struct virtio *v, unsigned int queue);
/* Sleeps until `count` chains have come back since the last call. Ends early, with false, when the device needs a reset. */
bool virtio_wait(struct virtio *v, unsigned int queue, unsigned int count);
/* How many interrupts the devices have raised. */
uint64_t virtio_interrupts(void);
