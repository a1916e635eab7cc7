#include "vmm/virtqueue.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/mem.h"
#include "vmm/state.h"

/* Layouts of VIRTIO 1.2: 2.7.5, 2.7.6, 2.7.8; little endian, as is the host. */
struct descriptor {
	uint64_t gpa;
	uint32_t size;
	uint16_t flags;
	uint16_t next;
};

struct used_element {
	uint32_t head;
	uint32_t written;
};

#define DESCRIPTOR_NEXT 1u
#define DESCRIPTOR_WRITE 2u
#define DESCRIPTOR_INDIRECT 4u

#define DRIVER_NO_INTERRUPT 1u
#define DEVICE_NO_NOTIFY 1u

/* In both rings: flags, then the index, then the entries, then the index at which the other side wants to hear. */
#define RING_FLAGS 0u
#define RING_INDEX 2u
#define RING_ENTRIES 4u

static uint64_t driver_bytes(const struct virtqueue *q)
{
	return RING_ENTRIES + 2ull * q->size + 2;
}

static uint64_t device_bytes(const struct virtqueue *q)
{
	return RING_ENTRIES + sizeof(struct used_element) * q->size + 2;
}

void virtqueue_init(struct virtqueue *q, struct mem *m)
{
	*q = (struct virtqueue){.mem = m};
}

static int broken(struct virtqueue *q)
{
	q->broken = true;
	return -EINVAL;
}

static bool shape_is_good(const struct virtqueue *q)
{
	return q->size && !(q->size & (q->size - 1)) && q->size <= VIRTQUEUE_MAX && q->descriptors % 16 == 0 &&
	       q->driver % 2 == 0 && q->device % 4 == 0;
}

static bool is_ram(const struct virtqueue *q, uint64_t gpa, uint64_t size)
{
	return mem_at(q->mem, gpa, size, MEM_READ);
}

int virtqueue_start(struct virtqueue *q)
{
	q->next = q->used = q->announced = 0;
	q->broken = false;
	q->ready = true;
	if (!shape_is_good(q) || !is_ram(q, q->descriptors, sizeof(struct descriptor) * q->size) ||
	    !is_ram(q, q->driver, driver_bytes(q)) || !is_ram(q, q->device, device_bytes(q)))
		return broken(q);
	return 0;
}

/*
 * Invariant 1: the guest may run on another CPU one day, so no compiler may read twice what is named once here. The rings
 * were found to be RAM, and RAM does not go away, but a loaded state may name anything.
 */
static uint16_t load16(struct virtqueue *q, uint64_t gpa)
{
	const uint16_t *p = mem_at(q->mem, gpa, sizeof(*p), MEM_READ);

	return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

static void store16(struct virtqueue *q, uint64_t gpa, uint16_t value)
{
	uint16_t *p = mem_at(q->mem, gpa, sizeof(*p), MEM_WRITE);

	if (p)
		__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

int virtqueue_waiting(struct virtqueue *q)
{
	uint16_t waiting;

	if (!q->ready || q->broken)
		return q->broken ? -EINVAL : 0;
	waiting = (uint16_t)(load16(q, q->driver + RING_INDEX) - q->next);
	return waiting > q->size ? broken(q) : waiting;
}

/* Invariant 2. */
static bool add_buffer(struct virtqueue *q, struct virtqueue_chain *c, const struct descriptor *d)
{
	bool writable = d->flags & DESCRIPTOR_WRITE;

	if (c->count == VIRTQUEUE_MAX_BUFFERS || (!writable && c->readable < c->count) || !is_ram(q, d->gpa, d->size))
		return false;
	c->buffer[c->count++] = (struct virtqueue_buffer){.gpa = d->gpa, .size = d->size};
	if (writable) {
		c->writable_bytes += d->size;
	} else {
		c->readable++;
		c->readable_bytes += d->size;
	}
	return true;
}

/* Descriptors that are chained inside one table of `entries`; as many steps at most, so a loop is a chain too long. */
static bool add_table(struct virtqueue *q, struct virtqueue_chain *c, uint64_t table, uint32_t entries, uint16_t at,
		      struct descriptor *indirect)
{
	struct descriptor d;

	for (uint32_t steps = 0; steps < entries; steps++) {
		if (at >= entries || mem_read(q->mem, table + sizeof(d) * at, &d, sizeof(d)) < 0)
			return false;
		if (d.flags & DESCRIPTOR_INDIRECT) {
			/* Only the end of a chain in the queue's own table may be indirect. */
			if (!indirect || d.flags & DESCRIPTOR_NEXT)
				return false;
			*indirect = d;
			return true;
		}
		if (!add_buffer(q, c, &d))
			return false;
		if (!(d.flags & DESCRIPTOR_NEXT))
			return true;
		at = d.next;
	}
	return false;
}

static bool add_indirect(struct virtqueue *q, struct virtqueue_chain *c, const struct descriptor *d)
{
	if (!q->indirect || !d->size || d->size % sizeof(*d) || !is_ram(q, d->gpa, d->size))
		return false;
	return add_table(q, c, d->gpa, d->size / (uint32_t)sizeof(*d), 0, NULL);
}

int virtqueue_pop(struct virtqueue *q, struct virtqueue_chain *c)
{
	struct descriptor indirect = {0};
	int waiting = virtqueue_waiting(q);

	if (waiting <= 0)
		return waiting;
	/* Invariant 3. */
	if ((uint16_t)(q->next - q->used) >= q->size)
		return broken(q);
	/* Not the buffers: clearing them would take longer than all the rest. */
	c->head = load16(q, q->driver + RING_ENTRIES + 2ull * (q->next % q->size));
	c->readable = c->count = 0;
	c->readable_bytes = c->writable_bytes = 0;
	if (!add_table(q, c, q->descriptors, q->size, c->head, &indirect) ||
	    (indirect.flags && !add_indirect(q, c, &indirect)))
		return broken(q);
	q->next++;
	return 1;
}

void virtqueue_copy_chain(struct virtqueue_chain *to, const struct virtqueue_chain *from)
{
	memcpy(to, from, offsetof(struct virtqueue_chain, buffer) + from->count * sizeof(*from->buffer));
}

void virtqueue_push(struct virtqueue *q, const struct virtqueue_chain *c, uint32_t written)
{
	const struct used_element element = {.head = c->head, .written = written};
	uint64_t at = q->device + RING_ENTRIES + sizeof(element) * (q->used % q->size);

	if (q->broken)
		return;
	if (mem_write(q->mem, at, &element, sizeof(element)) < 0)
		broken(q);
	else
		store16(q, q->device + RING_INDEX, ++q->used);
}

/* Where the device says at which index it wants to be notified. */
static uint64_t available_event(const struct virtqueue *q)
{
	return q->device + RING_ENTRIES + sizeof(struct used_element) * q->size;
}

void virtqueue_hush(struct virtqueue *q)
{
	if (!q->ready || q->broken)
		return;
	/* With the event index an index that was passed already says the same. */
	if (!q->event_index)
		store16(q, q->device + RING_FLAGS, DEVICE_NO_NOTIFY);
}

bool virtqueue_listen(struct virtqueue *q)
{
	if (!q->ready || q->broken)
		return false;
	if (q->event_index)
		store16(q, available_event(q), q->next);
	else
		store16(q, q->device + RING_FLAGS, 0);
	/* The wish must be visible before the look at what came in, as the driver does it the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtqueue_waiting(q) != 0;
}

bool virtqueue_passed(uint16_t event, uint16_t after, uint16_t before)
{
	return (uint16_t)(after - event - 1) < (uint16_t)(after - before);
}

bool virtqueue_wants_interrupt(struct virtqueue *q)
{
	uint16_t before = q->announced;

	if (!q->ready || q->broken || q->used == before)
		return false;
	q->announced = q->used;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->event_index)
		return virtqueue_passed(load16(q, q->driver + RING_ENTRIES + 2ull * q->size), q->used, before);
	return !(load16(q, q->driver + RING_FLAGS) & DRIVER_NO_INTERRUPT);
}

void virtqueue_visit(struct virtqueue *q, struct state *s)
{
	state_u64(s, &q->descriptors);
	state_u64(s, &q->driver);
	state_u64(s, &q->device);
	state_u16(s, &q->size);
	state_u16(s, &q->next);
	state_u16(s, &q->used);
	state_u16(s, &q->announced);
	state_bool(s, &q->ready);
	state_bool(s, &q->broken);
	state_bool(s, &q->event_index);
	state_bool(s, &q->indirect);
	state_check(s, q->broken || q->next == q->used, "virtqueue: chains that were not given back");
	state_check(s, !q->ready || q->broken || shape_is_good(q), "virtqueue: no queue has this size or alignment");
}
