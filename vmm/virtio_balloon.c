#include "vmm/virtio_balloon.h"

#include <stdbool.h>

#include "vmm/mem.h"

enum { INFLATE, DEFLATE, REPORTS_COMPACT, HINTS, REPORTS, QUEUES };

_Static_assert(QUEUES == VIRTIO_BALLOON_QUEUES, "all of them");

/*
 * The whole pages of a buffer, which lies in one region of RAM. Buffers may lie over one another: what one chain may have done is
 * bounded by the size of RAM, *left.
 */
static void discard_pages(struct virtio_balloon *b, const struct virtqueue_buffer *buffer, uint64_t *left)
{
	uint64_t first = (buffer->gpa + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1), end = (buffer->gpa + buffer->size) & ~(PAGE_SIZE - 1);
	uint64_t size = end > first ? end - first : 0;

	size = size < *left ? size : *left;
	if (!size)
		return;
	*left -= size;
	b->stats.reported += size / PAGE_SIZE;
	b->stats.given += b->discard(b->arg, first, size);
}

static bool is_report(const struct virtio_balloon *b, unsigned int queue)
{
	return (queue == REPORTS || queue == REPORTS_COMPACT) && virtio_device_has(&b->v, VIRTIO_BALLOON_REPORTING);
}

static int64_t balloon_serve(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c)
{
	struct virtio_balloon *b = (struct virtio_balloon *)v;
	uint64_t left = v->mem->size;

	if (!is_report(b, queue))
		return 0;
	b->stats.reports++;
	for (unsigned int i = c->readable; i < c->count; i++)
		discard_pages(b, &c->buffer[i], &left);
	return 0;
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon", .id = VIRTIO_ID_BALLOON, .queues = QUEUES, .served = (1u << QUEUES) - 1, .serve = balloon_serve,
};

void virtio_balloon_init(struct virtio_balloon *b, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 uint64_t (*discard)(void *arg, uint64_t gpa, uint64_t size), void *arg)
{
	*b = (struct virtio_balloon){.discard = discard, .arg = arg};
	virtio_device_init(&b->v, bus, place, m, &balloon_ops, VIRTIO_BALLOON_REPORTING);
	b->v.config = &b->config;
	b->v.config_size = sizeof(b->config);
}
