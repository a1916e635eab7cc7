/*
 * A virtio block device: a guest's disk.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 5.2.
 *
 * Data is never copied: it is read and written straight between the disk (disk.h) and guest pages, which are pinned
 * meanwhile. A request that was acknowledged as written survives the end of this process; one that was written before an
 * acknowledged flush survives the end of the host. A driver that does not take VIRTIO_BLK_F_FLUSH has every write flushed.
 * What the disk cannot do is an I/O error to the guest.
 *
 * What the host has in its page cache is read at once, in the access that announced the request. For the rest other threads
 * wait (disk_workers.h), while the guest goes on; such requests end in any order, as VIRTIO has it.
 */
#pragma once

#include <stdint.h>

#include "vmm/disk.h"
#include "vmm/disk_workers.h"
#include "vmm/remap.h"
#include "vmm/virtio_device.h"

/* Of one request. */
#define VIRTIO_BLOCK_SEGMENTS (VIRTQUEUE_MAX_BUFFERS - 2)
#define VIRTIO_BLOCK_SEGMENT_BYTES 131072u

/* Configuration, as far as its fields are offered (5.2.4). */
struct virtio_block_config {
	uint64_t capacity; /* sectors */
	uint32_t size_max;
	uint32_t seg_max;
};

struct virtio_block_stats {
	uint64_t reads, writes, flushes, errors; /* requests; those that failed count as errors, too */
	uint64_t read_bytes, written_bytes, remapped_bytes;
};

struct request;

/* Who is shown what comes of requests. */
struct virtio_block_show {
	void (*outside)(void *arg, void *bytes, size_t size); /* see virtio_block_show() */
	/* Before a request that changes the disk, or has it be written out: true: it was carried out before, and is not again. */
	bool (*was_done)(void *arg);
};

struct virtio_block {
	struct virtio_device v;
	struct disk *disk;
	unsigned int number; /* of this disk in its VM */
	struct virtio_block_config config;
	struct remap remap;
	struct disk_workers workers;
	struct request *spare; /* kept for the next ones */
	const struct virtio_block_show *show; /* NULL = virtio_block_show() was not called */
	void *show_arg;
	struct virtio_block_stats stats;
};

/*
 * Reset, on the bus. The disk, which is the VM's `number`-th, must outlive it. `wake` is called on another thread when requests
 * have ended: virtio_block_take() is due.
 */
void virtio_block_init(struct virtio_block *b, struct bus *bus, const struct virtio_place *place, struct mem *m,
		       struct disk *disk, unsigned int number, void (*wake)(void *arg), void *arg);
void virtio_block_destroy(struct virtio_block *b);

/*
 * From now on nothing comes later than it is asked for: each request is carried out at once. Of each `outside` is shown a byte, 0 = it was
 * carried out, and what was read; the guest gets what is there when it returns. Not while requests are under way. NULL: no longer.
 */
void virtio_block_show(struct virtio_block *b, const struct virtio_block_show *to, void *arg);

/* Gives back the requests that have ended meanwhile. */
void virtio_block_take(struct virtio_block *b);

/* Sleeps until all requests have ended, and gives them back. */
void virtio_block_settle(struct virtio_block *b);
