#include "vmm/virtio_device.h"

#include <string.h>

#include "vmm/ensure.h"
#include "vmm/state.h"

/* VIRTIO 1.2, section 6: features of the transport and of the queues. */
#define FEATURE_INDIRECT_DESC (1ull << 28)
#define FEATURE_EVENT_IDX (1ull << 29)
#define FEATURE_VERSION_1 (1ull << 32)
#define FEATURES_ALWAYS (FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX | FEATURE_VERSION_1)

#define INTERRUPT_USED 1u
#define INTERRUPT_CONFIG 2u

#define STATUS_DRIVERS \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK | \
	 VIRTIO_STATUS_FAILED)
#define STATUS_ALL (STATUS_DRIVERS | VIRTIO_STATUS_NEEDS_RESET)

static void update_irq(struct virtio_device *v)
{
	irq_set(&v->irq, v->interrupts != 0);
}

static void interrupt(struct virtio_device *v, uint32_t kind)
{
	v->interrupts |= kind;
	v->interrupted++;
	update_irq(v);
}

bool virtio_device_has(const struct virtio_device *v, uint64_t feature)
{
	return v->status & VIRTIO_STATUS_FEATURES_OK && v->driver_features & feature;
}

bool virtio_device_live(const struct virtio_device *v)
{
	return (v->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET)) == VIRTIO_STATUS_DRIVER_OK;
}

void virtio_device_tell(struct virtio_device *v, unsigned int n)
{
	if (virtqueue_wants_interrupt(&v->queue[n]))
		interrupt(v, INTERRUPT_USED);
}

void virtio_device_break(struct virtio_device *v)
{
	if (v->status & VIRTIO_STATUS_DRIVER_OK && !(v->status & VIRTIO_STATUS_NEEDS_RESET))
		interrupt(v, INTERRUPT_CONFIG);
	v->status |= VIRTIO_STATUS_NEEDS_RESET;
}

struct virtqueue *virtio_device_queue(struct virtio_device *v)
{
	return v->queue_select < v->ops->queues ? &v->queue[v->queue_select] : NULL;
}

/*
 * Serves what waits, at most a ring's worth: with one vCPU, which waits here, more can only come in if the device itself
 * writes the rings, by buffers that lie on them. Without the bound such a guest could keep us here for ever.
 */
static int serve(struct virtio_device *v, unsigned int n, unsigned int *budget)
{
	struct virtqueue *q = &v->queue[n];
	struct virtqueue_chain c;
	int64_t written;
	int r;

	while ((r = virtqueue_pop(q, &c)) > 0) {
		if (!(*budget)--)
			return -1;
		written = v->ops->serve(v, n, &c);
		if (written != VIRTIO_KEPT)
			virtqueue_push(q, &c, (uint32_t)written);
	}
	return r;
}

static void serve_all(struct virtio_device *v, unsigned int n)
{
	struct virtqueue *q = &v->queue[n];
	unsigned int budget = q->size;

	do {
		virtqueue_hush(q);
		if (serve(v, n, &budget) < 0) {
			q->broken = true;
			virtio_device_break(v);
			return;
		}
	} while (virtqueue_listen(q));
	virtio_device_tell(v, n);
}

void virtio_device_notify(struct virtio_device *v, uint32_t n)
{
	v->notified++;
	if (n < v->ops->queues && virtio_device_live(v) && v->queue[n].ready && v->ops->served >> n & 1)
		serve_all(v, n);
}

static void clear(struct virtio_device *v)
{
	v->driver_features = 0;
	v->device_features_select = v->driver_features_select = v->queue_select = 0;
	v->status = v->interrupts = 0;
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		virtqueue_init(&v->queue[i], v->mem);
}

static void settle(struct virtio_device *v)
{
	if (v->ops->settle)
		v->ops->settle(v);
}

static void virtio_reset(struct device *d)
{
	struct virtio_device *v = (struct virtio_device *)d;

	settle(v);
	clear(v);
	update_irq(v);
}

static bool features_fit(const struct virtio_device *v)
{
	return !(v->driver_features & ~v->features) && v->driver_features & FEATURE_VERSION_1;
}

void virtio_device_set_status(struct virtio_device *v, uint32_t value)
{
	uint32_t added = value & STATUS_DRIVERS & ~v->status;

	if (!value) {
		virtio_reset(&v->device);
		return;
	}
	if (added & VIRTIO_STATUS_FEATURES_OK && !features_fit(v))
		added &= ~VIRTIO_STATUS_FEATURES_OK;
	if (!((v->status | added) & VIRTIO_STATUS_FEATURES_OK))
		added &= ~VIRTIO_STATUS_DRIVER_OK;
	v->status |= added;
}

static uint32_t half_of(uint64_t value, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(value >> (32 * select));
}

static uint64_t with_half(uint64_t value, uint32_t select, uint32_t new)
{
	return (value & ~(0xffffffffull << (32 * select))) | (uint64_t)new << (32 * select);
}

uint32_t virtio_device_features(const struct virtio_device *v)
{
	return half_of(v->features, v->device_features_select);
}

void virtio_device_accept(struct virtio_device *v, uint32_t value)
{
	if (v->driver_features_select < 2 && !(v->status & VIRTIO_STATUS_FEATURES_OK))
		v->driver_features = with_half(v->driver_features, v->driver_features_select, value);
}

void virtio_device_set_queue_size(struct virtio_device *v, uint32_t size)
{
	struct virtqueue *q = virtio_device_queue(v);

	if (q && !q->ready)
		q->size = size <= VIRTQUEUE_MAX ? (uint16_t)size : 0;
}

void virtio_device_set_queue_ready(struct virtio_device *v, bool ready)
{
	struct virtqueue *q = virtio_device_queue(v);

	if (!q || !(v->status & VIRTIO_STATUS_FEATURES_OK) || q->ready == ready)
		return;
	if (!ready)
		settle(v);
	q->ready = ready;
	if (!ready)
		return;
	q->event_index = virtio_device_has(v, FEATURE_EVENT_IDX);
	q->indirect = virtio_device_has(v, FEATURE_INDIRECT_DESC);
	if (virtqueue_start(q) < 0)
		virtio_device_break(v);
}

static uint64_t *address_of(struct virtqueue *q, enum virtio_ring ring)
{
	uint64_t *const addresses[] = {
		[VIRTIO_DESCRIPTORS] = &q->descriptors, [VIRTIO_DRIVER_RING] = &q->driver, [VIRTIO_DEVICE_RING] = &q->device,
	};

	return addresses[ring];
}

void virtio_device_set_queue_address(struct virtio_device *v, enum virtio_ring ring, unsigned int half, uint32_t value)
{
	struct virtqueue *q = virtio_device_queue(v);

	if (q && !q->ready)
		*address_of(q, ring) = with_half(*address_of(q, ring), half, value);
}

uint32_t virtio_device_queue_address(struct virtio_device *v, enum virtio_ring ring, unsigned int half)
{
	struct virtqueue *q = virtio_device_queue(v);

	return q ? half_of(*address_of(q, ring), half) : 0;
}

void virtio_device_acknowledge(struct virtio_device *v, uint32_t interrupts)
{
	v->interrupts &= ~interrupts;
	update_irq(v);
}

void virtio_device_read_config(const struct virtio_device *v, uint64_t at, struct access *a)
{
	uint64_t left = at < v->config_size ? v->config_size - at : 0;

	a->value = 0;
	if (left)
		memcpy(&a->value, (const uint8_t *)v->config + at, a->size < left ? a->size : left);
}

static void virtio_visit(struct device *d, struct state *s)
{
	struct virtio_device *v = (struct virtio_device *)d;
	bool agreed;

	state_begin(s, "virtio", 1);
	state_u64(s, &v->driver_features);
	state_u32(s, &v->device_features_select);
	state_u32(s, &v->driver_features_select);
	state_u32(s, &v->queue_select);
	state_u32(s, &v->status);
	state_u32(s, &v->interrupts);
	for (unsigned int i = 0; i < v->ops->queues; i++)
		virtqueue_visit(&v->queue[i], s);
	agreed = v->status & VIRTIO_STATUS_FEATURES_OK;
	state_check(s, !(v->status & ~STATUS_ALL), "virtio: reserved status bits");
	state_check(s, agreed || !(v->status & VIRTIO_STATUS_DRIVER_OK), "virtio: a driver without features");
	state_check(s, !agreed || features_fit(v), "virtio: features that are not offered");
	state_check(s, !(v->interrupts & ~(INTERRUPT_USED | INTERRUPT_CONFIG)), "virtio: reserved interrupts");
	if (v->ops->visit)
		v->ops->visit(v, s);
	state_end(s);
}

void virtio_device_init(struct virtio_device *v, struct bus *b, const struct virtio_place *place, struct mem *m,
			const struct virtio_ops *ops, uint64_t features)
{
	ensure(ops->queues <= VIRTIO_MAX_QUEUES);
	*v = (struct virtio_device){
		.device = {
			.name = ops->name, .access = place->transport->access, .reset = virtio_reset, .visit = virtio_visit,
		},
		.ops = ops,
		.irq = place->irq,
		.mem = m,
		.features = features | FEATURES_ALWAYS,
	};
	clear(v);
	bus_add(b, &v->device);
	bus_claim(b, &v->device, BUS_MMIO, place->gpa, VIRTIO_WINDOW, 0);
}
