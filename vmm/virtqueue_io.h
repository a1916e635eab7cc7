/*
 * The bytes of a chain as its device wants them: copied, for headers and the like, or in place, for I/O that goes straight
 * between a file and guest pages.
 */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

#include "vmm/mem.h"
#include "vmm/virtqueue.h"

/* Host vectors for a run of a chain's bytes; the pages are pinned (mem.h) until virtqueue_io_end(). */
struct virtqueue_io {
	struct mem *mem;
	unsigned int count;
	struct iovec vector[VIRTQUEUE_MAX_BUFFERS];
	struct mem_pin pin[VIRTQUEUE_MAX_BUFFERS];
};

/* Copies readable bytes [at, at + size) out of the chain; how many there were. */
uint64_t virtqueue_read(struct mem *m, const struct virtqueue_chain *c, uint64_t at, void *to, uint64_t size);

/* Copies into writable bytes [at, at + size) of the chain; how many had room. */
uint64_t virtqueue_write(struct mem *m, const struct virtqueue_chain *c, uint64_t at, const void *from, uint64_t size);

/*
 * Pins bytes [at, at + size) of the readable (MEM_READ) or writable (MEM_WRITE) part, which must have them (our bug). Whoever
 * does the I/O may change the vectors. Returns 0, or -EIO if RAM is lost: then nothing is pinned, and nothing of what was read
 * from it may leave the VM.
 */
int virtqueue_io_begin(struct virtqueue_io *io, struct mem *m, const struct virtqueue_chain *c, enum mem_use use, uint64_t at,
		       uint64_t size);
void virtqueue_io_end(struct virtqueue_io *io);
