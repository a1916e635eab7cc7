/*
 * A driver of virtio devices for tests: sets one queue up as the standard says, puts buffers in, looks at what comes back.
 */
#pragma once

#include <check.h>
#include <string.h>

#include "tests/unit/board.h"
#include "vmm/mem.h"
#include "vmm/virtio_mmio.h"

#define DRIVER_BASE 0xd1000000ull
#define DRIVER_IRQ 5u
#define DRIVER_TABLE 0x10000ull
#define DRIVER_AVAILABLE 0x20000ull
#define DRIVER_USED 0x30000ull
#define DRIVER_DATA 0x40000ull
#define DRIVER_QUEUE_STRIDE 0x1000ull /* from one queue's rings to the next one's */
#define DRIVER_SIZE 16u

enum { DRIVER_NEXT = 1, DRIVER_WRITE = 2, DRIVER_INDIRECT = 4 };

enum { REG_MAGIC = 0, REG_VERSION = 4, REG_DEVICE = 8, REG_FEATURES = 0x10, REG_FEATURES_SEL = 0x14, REG_ACCEPT = 0x20,
       REG_ACCEPT_SEL = 0x24, REG_QUEUE_SEL = 0x30, REG_QUEUE_MAX = 0x34, REG_QUEUE_SIZE = 0x38, REG_QUEUE_READY = 0x44,
       REG_NOTIFY = 0x50, REG_INTERRUPT = 0x60, REG_ACK = 0x64, REG_STATUS = 0x70, REG_TABLE = 0x80, REG_AVAILABLE = 0x90,
       REG_USED = 0xa0, REG_CONFIG = 0x100 };

/* Good until the next call. */
static inline const struct virtio_place *driver_place(struct board *b)
{
	static struct virtio_place place;

	place = (struct virtio_place){.transport = &virtio_mmio, .gpa = DRIVER_BASE, .irq = board_irq(b, DRIVER_IRQ)};
	return &place;
}

static inline uint64_t driver_read(struct board *b, uint64_t offset, uint8_t size)
{
	struct access a = {.kind = ACCESS_MMIO_READ, .size = size, .addr = DRIVER_BASE + offset};

	bus_access(&b->bus, &a);
	return a.value;
}

static inline void driver_write(struct board *b, uint64_t offset, uint8_t size, uint64_t value)
{
	struct access a = {.kind = ACCESS_MMIO_WRITE, .size = size, .addr = DRIVER_BASE + offset, .value = value};

	bus_access(&b->bus, &a);
}

static inline uint32_t driver_get(struct board *b, uint64_t offset)
{
	return (uint32_t)driver_read(b, offset, 4);
}

static inline void driver_set(struct board *b, uint64_t offset, uint32_t value)
{
	driver_write(b, offset, 4, value);
}

static inline uint64_t driver_features(struct board *b)
{
	uint64_t features;

	driver_set(b, REG_FEATURES_SEL, 0);
	features = driver_get(b, REG_FEATURES);
	driver_set(b, REG_FEATURES_SEL, 1);
	return features | (uint64_t)driver_get(b, REG_FEATURES) << 32;
}

/* Up to FEATURES_OK. Returns the status. */
static inline uint32_t driver_negotiate(struct board *b, uint64_t features)
{
	driver_set(b, REG_STATUS, 0);
	driver_set(b, REG_STATUS, 1);
	driver_set(b, REG_STATUS, 3);
	for (uint32_t i = 0; i < 2; i++) {
		driver_set(b, REG_ACCEPT_SEL, i);
		driver_set(b, REG_ACCEPT, (uint32_t)(features >> (32 * i)));
	}
	driver_set(b, REG_STATUS, 11);
	return driver_get(b, REG_STATUS);
}

static inline void driver_queue(struct board *b, unsigned int queue, unsigned int size)
{
	driver_set(b, REG_QUEUE_SEL, queue);
	driver_set(b, REG_QUEUE_SIZE, size);
	driver_set(b, REG_TABLE, (uint32_t)(DRIVER_TABLE + queue * DRIVER_QUEUE_STRIDE));
	driver_set(b, REG_TABLE + 4, 0);
	driver_set(b, REG_AVAILABLE, (uint32_t)(DRIVER_AVAILABLE + queue * DRIVER_QUEUE_STRIDE));
	driver_set(b, REG_AVAILABLE + 4, 0);
	driver_set(b, REG_USED, (uint32_t)(DRIVER_USED + queue * DRIVER_QUEUE_STRIDE));
	driver_set(b, REG_USED + 4, 0);
	driver_set(b, REG_QUEUE_READY, 1);
}

/* Everything, with `queues` queues. */
static inline void driver_start(struct board *b, struct mem *m, uint64_t features, unsigned int queues)
{
	ck_assert_uint_eq(driver_negotiate(b, features), 11);
	for (unsigned int i = 0; i < queues; i++) {
		memset(mem_at(m, DRIVER_AVAILABLE + i * DRIVER_QUEUE_STRIDE, 64, MEM_WRITE), 0, 64);
		memset(mem_at(m, DRIVER_USED + i * DRIVER_QUEUE_STRIDE, 256, MEM_WRITE), 0, 256);
		driver_queue(b, i, DRIVER_SIZE);
	}
	driver_set(b, REG_STATUS, 15);
	ck_assert_uint_eq(driver_get(b, REG_STATUS), 15);
}

static inline void driver_describe(struct mem *m, unsigned int queue, unsigned int i, uint64_t gpa, uint32_t size, uint16_t flags,
				   uint16_t next)
{
	struct {
		uint64_t gpa;
		uint32_t size;
		uint16_t flags, next;
	} d = {gpa, size, flags, next};

	ck_assert_int_eq(mem_write(m, DRIVER_TABLE + queue * DRIVER_QUEUE_STRIDE + 16 * i, &d, sizeof(d)), 0);
}

static inline uint16_t driver_index(struct mem *m, uint64_t ring, unsigned int queue)
{
	uint16_t index;

	ck_assert_int_eq(mem_read(m, ring + queue * DRIVER_QUEUE_STRIDE + 2, &index, 2), 0);
	return index;
}

static inline void driver_offer(struct mem *m, unsigned int queue, uint16_t head)
{
	uint64_t ring = DRIVER_AVAILABLE + queue * DRIVER_QUEUE_STRIDE;
	uint16_t index = driver_index(m, DRIVER_AVAILABLE, queue);

	ck_assert_int_eq(mem_write(m, ring + 4 + 2 * (index % DRIVER_SIZE), &head, 2), 0);
	index++;
	ck_assert_int_eq(mem_write(m, ring + 2, &index, 2), 0);
}

/* Length of the last chain that came back. */
static inline uint32_t driver_written(struct mem *m, unsigned int queue)
{
	uint16_t last = (uint16_t)(driver_index(m, DRIVER_USED, queue) - 1);
	uint32_t written;

	ck_assert_int_eq(mem_read(m, DRIVER_USED + queue * DRIVER_QUEUE_STRIDE + 8 + 8 * (last % DRIVER_SIZE), &written, 4), 0);
	return written;
}
