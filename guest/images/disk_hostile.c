/*
 * disk hostile: what no driver should do to a disk. After each case the disk must say so, by the request's status, by its own
 * (DEVICE_NEEDS_RESET) or by silence, as the standard and common sense have it; and work again after a reset.
 */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/disk.h"
#include "guest/kernel/console.h"
#include "guest/kernel/pages.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define NOWHERE 0x7f00000000ull

/* What a case may come to. */
enum { BROKEN = 1, ERROR = 2, SILENT = 4, FINE = 8 };

static void kick(struct disk *d)
{
	virtio_set(&d->v, VIRTIO_REG_NOTIFY, 0);
}

static void loop(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, d->data, 512, VIRTIO_NEXT | VIRTIO_WRITE, 1);
	kick(d);
}

static void next_outside(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, d->data, 512, VIRTIO_NEXT | VIRTIO_WRITE, VIRTIO_SIZE);
	kick(d);
}

static void head_outside(struct disk *d)
{
	virtio_offer(&d->v, 0, 0xffff);
	kick(d);
}

static void data_outside(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, (void *)NOWHERE, 512, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void data_in_device(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, (void *)ABI_VIRTIO_MMIO, 512, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void data_wraps(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, (void *)(UINT64_MAX - 100), 512, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void data_gigantic(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, d->data, 0xfffffe00u, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void data_empty(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, d->data, 0, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void index_jumps(struct disk *d)
{
	d->v.queue[0].available->index += 1000;
	kick(d);
}

static void index_falls(struct disk *d)
{
	d->v.queue[0].available->index--;
	kick(d);
}

static void indirect_in_indirect(struct disk *d)
{
	struct virtio_descriptor *table = (void *)d->data;

	table[0] = (struct virtio_descriptor){ (uint64_t)table, 16, VIRTIO_INDIRECT, 0 };
	virtio_describe(&d->v, 0, 0, table, 16, VIRTIO_INDIRECT, 0);
	virtio_offer(&d->v, 0, 0);
	kick(d);
}

static void indirect_odd(struct disk *d)
{
	virtio_describe(&d->v, 0, 0, d->data, 17, VIRTIO_INDIRECT, 0);
	virtio_offer(&d->v, 0, 0);
	kick(d);
}

static void write_before_read(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 0, &d->header[0], 16, VIRTIO_NEXT | VIRTIO_WRITE, 1);
	virtio_describe(&d->v, 0, 1, d->data, 512, VIRTIO_NEXT, 2);
	kick(d);
}

static void no_status(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 0, &d->header[0], 16, 0, 0);
	kick(d);
}

static void short_header(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 0, &d->header[0], 7, VIRTIO_NEXT, 2);
	kick(d);
}

static void sector_beyond(struct disk *d)
{
	disk_put(d, 0, DISK_READ, d->sectors, 0, 512);
	kick(d);
}

static void sector_wraps(struct disk *d)
{
	disk_put(d, 0, DISK_READ, UINT64_MAX / 512 + 1, 0, 1024);
	kick(d);
}

static void half_sector(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 100);
	kick(d);
}

static void unknown_type(struct disk *d)
{
	disk_put(d, 0, 12345, 0, 0, 512);
	kick(d);
}

static void same_buffer(struct disk *d)
{
	for (unsigned int i = 0; i < DISK_DEPTH; i++)
		disk_put(d, i, DISK_READ, 0, 0, DISK_MAX_REQUEST < d->sectors * 512 ? DISK_MAX_REQUEST : 512);
	kick(d);
}

/* The device itself writes the ring that it is reading. */
static void data_on_ring(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 1, d->v.queue[0].available, 512, VIRTIO_NEXT | VIRTIO_WRITE, 2);
	kick(d);
}

static void status_on_ring(struct disk *d)
{
	disk_put(d, 0, DISK_READ, 0, 0, 512);
	virtio_describe(&d->v, 0, 2, &d->v.queue[0].used->index, 1, VIRTIO_WRITE, 0);
	kick(d);
}

static void other_queues(struct disk *d)
{
	for (uint32_t n = 1; n < 40; n++)
		virtio_set(&d->v, VIRTIO_REG_NOTIFY, n);
	virtio_set(&d->v, VIRTIO_REG_NOTIFY, UINT32_MAX);
}

/* A queue made ready with these numbers, while the device is live. */
static void set_up_again(struct disk *d, uint32_t size, uint64_t descriptors)
{
	virtio_set(&d->v, VIRTIO_REG_QUEUE_SELECT, 0);
	virtio_set(&d->v, VIRTIO_REG_QUEUE_READY, 0);
	virtio_set(&d->v, VIRTIO_REG_QUEUE_SIZE, size);
	virtio_set(&d->v, VIRTIO_REG_DESCRIPTORS, (uint32_t)descriptors);
	virtio_set(&d->v, VIRTIO_REG_DESCRIPTORS + 4, (uint32_t)(descriptors >> 32));
	virtio_set(&d->v, VIRTIO_REG_QUEUE_READY, 1);
	kick(d);
}

static void size_three(struct disk *d)
{
	set_up_again(d, 3, (uint64_t)d->v.queue[0].descriptor);
}

static void size_huge(struct disk *d)
{
	set_up_again(d, 0x10000, (uint64_t)d->v.queue[0].descriptor);
}

static void table_nowhere(struct disk *d)
{
	set_up_again(d, VIRTIO_SIZE, NOWHERE);
}

static void table_at_the_end(struct disk *d)
{
	set_up_again(d, VIRTIO_SIZE, UINT64_MAX - 15);
}

static void registers(struct disk *d)
{
	uint64_t state = 1;

	for (unsigned int i = 0; i < 300; i++) {
		uint64_t random = random_next(&state);
		uint32_t reg = (uint32_t)(random >> 32) % 0x120 & ~3u;

		virtio_set(&d->v, reg, random & 1 ? (uint32_t)random : (uint32_t)random % 16);
		virtio_get(&d->v, reg);
	}
}

static const struct hostile_case {
	const char *name;
	void (*commit)(struct disk *d);
	unsigned int allowed;
} cases[] = {
	{ "loop", loop, BROKEN },
	{ "next-outside", next_outside, BROKEN },
	{ "head-outside", head_outside, BROKEN },
	{ "data-outside", data_outside, BROKEN },
	{ "data-in-device", data_in_device, BROKEN },
	{ "data-wraps", data_wraps, BROKEN },
	{ "data-gigantic", data_gigantic, BROKEN },
	{ "data-empty", data_empty, BROKEN },
	{ "index-jumps", index_jumps, BROKEN },
	{ "index-falls", index_falls, BROKEN },
	{ "indirect-in-indirect", indirect_in_indirect, BROKEN },
	{ "indirect-odd", indirect_odd, BROKEN },
	{ "write-before-read", write_before_read, BROKEN },
	{ "no-status", no_status, SILENT },
	{ "short-header", short_header, SILENT },
	{ "sector-beyond", sector_beyond, ERROR },
	{ "sector-wraps", sector_wraps, ERROR },
	{ "half-sector", half_sector, ERROR },
	{ "unknown-type", unknown_type, ERROR },
	{ "same-buffer", same_buffer, FINE },
	{ "data-on-ring", data_on_ring, BROKEN | FINE },
	{ "status-on-ring", status_on_ring, SILENT },
	{ "other-queues", other_queues, SILENT },
	{ "size-three", size_three, BROKEN },
	{ "size-huge", size_huge, BROKEN },
	{ "table-nowhere", table_nowhere, BROKEN },
	{ "table-at-the-end", table_at_the_end, BROKEN },
	{ "registers", registers, BROKEN | ERROR | SILENT | FINE },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static unsigned int result(const struct disk *d)
{
	if ((virtio_get(&d->v, VIRTIO_REG_STATUS) & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return BROKEN;
	if (d->status[0] == DISK_NO_ANSWER)
		return SILENT;
	return d->status[0] == DISK_OK ? FINE : ERROR;
}

/* The disk may take its time; only where silence is right nobody can wait for the end of it. */
static unsigned int outcome(const struct disk *d, unsigned int allowed)
{
	unsigned int got;

	do
		got = result(d);
	while (got == SILENT && (allowed & SILENT) == 0);
	return got;
}

static bool works_again(struct disk *d)
{
	return virtio_start(&d->v, d->features, 1) && disk_do(d, DISK_READ, 0, 512) == DISK_OK;
}

int disk_hostile(struct disk *d)
{
	unsigned int bad = 0;

	for (size_t i = 0; i < CASES; i++) {
		unsigned int got;

		d->status[0] = DISK_NO_ANSWER;
		cases[i].commit(d);
		got = outcome(d, cases[i].allowed);
		if ((got & cases[i].allowed) == 0 || !works_again(d)) {
			kprintf("BAD %s: %u\n", cases[i].name, got);
			bad++;
		}
	}
	kprintf("disk: %lu hostile cases, %u bad\n", CASES, bad);
	return bad != 0;
}
