#include "vmm/virtio_entropy.h"

#include "vmm/mem.h"
#include "vmm/virtqueue_io.h"

static int64_t entropy_serve(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c)
{
	struct virtio_entropy *e = (struct virtio_entropy *)v;
	uint8_t bytes[VIRTIO_ENTROPY_BYTES];
	uint64_t size = c->writable_bytes < sizeof(bytes) ? c->writable_bytes : sizeof(bytes);

	if (!size || e->fill(e->arg, bytes, size) < 0)
		return 0;
	return (int64_t)virtqueue_write(v->mem, c, 0, bytes, size);
}

static const struct virtio_ops entropy_ops = {
	.name = "virtio-entropy", .id = VIRTIO_ID_ENTROPY, .queues = 1, .served = 1, .serve = entropy_serve,
};

void virtio_entropy_init(struct virtio_entropy *e, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 int (*fill)(void *arg, void *bytes, size_t size), void *arg)
{
	*e = (struct virtio_entropy){.fill = fill, .arg = arg};
	virtio_device_init(&e->v, bus, place, m, &entropy_ops, 0);
}
