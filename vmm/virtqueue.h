/*
 * A split virtqueue as its device sees it: rings in guest RAM, all of which is hostile until it has been checked.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 2.7 (split virtqueues), with 2.7.5.3 (indirect descriptors),
 * 2.7.7 and 2.7.8 (suppressing interrupts and notifications) and 2.7.10 (event index).
 *
 * Invariants:
 * 1. A ring field is read once; what was checked is what is used.
 * 2. Every buffer of a chain lies in one region of RAM, none is empty, and those that are read come before those that are
 *    written.
 * 3. A device has at most `size` chains at once: who puts in more, without having had any back, uses descriptors twice.
 * 4. What breaks a rule breaks the queue: from then on it gives nothing and takes nothing, until it is set up anew. The device
 *    says so to the driver (virtio_mmio.h); the guest goes on.
 *
 * The vCPU's thread only, also where a device's other threads work on the buffers of a chain.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mem;
struct state;

#define VIRTQUEUE_MAX 128u	 /* entries of a ring */
#define VIRTQUEUE_MAX_BUFFERS 128u /* of one chain, also of an indirect one */

struct virtqueue {
	struct mem *mem;
	uint64_t descriptors, driver, device; /* gpas: descriptor table, available ring, used ring */
	uint16_t size;	       /* entries, a power of two */
	bool ready;	       /* set up: the gpas and the size have been checked */
	bool broken;	       /* invariant 4 */
	bool event_index;      /* VIRTIO_F_EVENT_IDX was negotiated */
	bool indirect;	       /* VIRTIO_F_INDIRECT_DESC was negotiated */
	uint16_t next;	       /* of the available ring; runs freely */
	uint16_t used;	       /* of the used ring; runs freely */
	uint16_t announced;    /* `used` when the driver was last told */
};

/* Guest bytes [gpa, gpa + size), checked to be RAM. */
struct virtqueue_buffer {
	uint64_t gpa;
	uint32_t size;
};

/* What the driver put in: the device reads buffer[0, readable) and writes buffer[readable, count). */
struct virtqueue_chain {
	uint16_t head;
	unsigned int readable, count;
	uint64_t readable_bytes, writable_bytes;
	struct virtqueue_buffer buffer[VIRTQUEUE_MAX_BUFFERS];
};

/* Not set up, as after a reset. */
void virtqueue_init(struct virtqueue *q, struct mem *m);

/*
 * The driver has set size and gpas and says that the queue is ready: checks them. Returns 0, or -EINVAL for a size that is 0,
 * no power of two or above VIRTQUEUE_MAX, for rings that are not aligned as they must be, and for rings outside RAM; then the
 * queue is broken.
 */
int virtqueue_start(struct virtqueue *q);

/* Takes the next chain: 1, or 0 for none, or -EINVAL: the queue has been found broken just now, or was before. */
int virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *c);

/* Puts the chain that was taken last, and not given back, where it was: it is the next one again. */
static inline void virtqueue_put_back(struct virtqueue *q)
{
	q->next--;
}

/* A chain that is kept longer than what virtqueue_pop() wrote to. */
void virtqueue_copy_chain(struct virtqueue_chain *to, const struct virtqueue_chain *from);

/* Gives a chain back, in any order, with `written` bytes from the start of its writable buffers on. */
void virtqueue_push(struct virtqueue *q, const struct virtqueue_chain *c, uint32_t written);

/* How many chains wait: 0..size, or -EINVAL as virtqueue_pop(). */
int virtqueue_waiting(struct virtqueue *q);

/*
 * While a device works through a queue it needs no notifications. Asking for them again returns true if chains have come in
 * meanwhile, of which no notification will tell.
 */
void virtqueue_hush(struct virtqueue *q);
bool virtqueue_listen(struct virtqueue *q);

/* After pushes: whether the driver wants an interrupt for them. Counts as having told it. */
bool virtqueue_wants_interrupt(struct virtqueue *q);

/* As the driver computes it, too: whether an index that went from `before` to `after` has passed `event` (2.7.10). */
bool virtqueue_passed(uint16_t event, uint16_t after, uint16_t before);

/* A part of its device's section. Loaded gpas and sizes are checked as by virtqueue_start(); RAM need not be there yet. */
void virtqueue_visit(struct virtqueue *q, struct state *s);
