#include "vmm/virtio_console.h"

#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/virtqueue_io.h"

enum { RECEIVE, TRANSMIT, QUEUES };

#define PIECE 256u
/* What one chain may send: it goes out byte by byte, to a reader that may be slow. */
#define TRANSMIT_MAX 65536u

/* What is longer is cut off: no driver sends more than some pages at once. */
static int64_t console_serve(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c)
{
	struct virtio_console *console = (struct virtio_console *)v;
	uint8_t bytes[PIECE];
	uint64_t n;

	for (uint64_t at = 0; at < TRANSMIT_MAX; at += n) {
		n = virtqueue_read(v->mem, c, at, bytes, sizeof(bytes));
		if (!n)
			break;
		for (uint64_t i = 0; i < n; i++)
			console->put(console->arg, bytes[i]);
	}
	return 0;
}

/* The chain that input would go to; false if there is none. */
static bool next_buffer(struct virtio_console *c, struct virtqueue_chain *chain)
{
	struct virtio_device *v = &c->v;
	int r = virtio_device_live(v) ? virtqueue_pop(&v->queue[RECEIVE], chain) : 0;

	/* One that takes nothing would be the next one for ever. */
	if (r > 0 && !chain->writable_bytes) {
		v->queue[RECEIVE].broken = true;
		r = -1;
	}
	if (r < 0)
		virtio_device_break(v);
	return r > 0;
}

size_t virtio_console_room(struct virtio_console *c)
{
	struct virtqueue_chain chain;

	if (!next_buffer(c, &chain))
		return 0;
	virtqueue_put_back(&c->v.queue[RECEIVE]);
	return chain.writable_bytes;
}

void virtio_console_receive(struct virtio_console *c, const void *bytes, size_t size)
{
	struct virtio_device *v = &c->v;
	struct virtqueue_chain chain;
	bool there = next_buffer(c, &chain);

	ensure(there && size <= chain.writable_bytes);
	virtqueue_push(&v->queue[RECEIVE], &chain, (uint32_t)virtqueue_write(v->mem, &chain, 0, bytes, size));
	virtio_device_tell(v, RECEIVE);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console", .id = VIRTIO_ID_CONSOLE, .queues = QUEUES, .served = 1u << TRANSMIT, .serve = console_serve,
};

void virtio_console_init(struct virtio_console *c, struct bus *bus, const struct virtio_place *place, struct mem *m,
			 void (*put)(void *arg, uint8_t byte), void *arg)
{
	*c = (struct virtio_console){.put = put, .arg = arg};
	virtio_device_init(&c->v, bus, place, m, &console_ops, 0);
}
