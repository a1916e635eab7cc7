#include "vmm/virtqueue_io.h"

#include <errno.h>

#include "vmm/ensure.h"

/* Buffers of one part of a chain, from byte `at` of it on. */
struct cursor {
	const struct virtqueue_buffer *buffer, *end;
	uint64_t at; /* in *buffer */
};

static struct cursor cursor_at(const struct virtqueue_chain *c, enum mem_use use, uint64_t at)
{
	struct cursor k = {.buffer = c->buffer, .end = c->buffer + c->readable, .at = at};

	if (use == MEM_WRITE)
		k = (struct cursor){.buffer = k.end, .end = c->buffer + c->count, .at = at};
	while (k.buffer < k.end && k.at >= k.buffer->size)
		k.at -= k.buffer++->size;
	return k;
}

/* The next piece of at most `size` bytes; false at the end. */
static bool next_piece(struct cursor *k, uint64_t size, struct virtqueue_buffer *piece)
{
	uint64_t left;

	if (!size || k->buffer == k->end)
		return false;
	left = k->buffer->size - k->at;
	*piece = (struct virtqueue_buffer){.gpa = k->buffer->gpa + k->at, .size = (uint32_t)(size < left ? size : left)};
	k->at = 0;
	k->buffer++;
	return true;
}

uint64_t virtqueue_read(struct mem *m, const struct virtqueue_chain *c, uint64_t at, void *to, uint64_t size)
{
	struct cursor k = cursor_at(c, MEM_READ, at);
	struct virtqueue_buffer piece;
	uint64_t done = 0;

	for (; next_piece(&k, size - done, &piece); done += piece.size)
		if (mem_read(m, piece.gpa, (uint8_t *)to + done, piece.size) < 0)
			break;
	return done;
}

uint64_t virtqueue_write(struct mem *m, const struct virtqueue_chain *c, uint64_t at, const void *from, uint64_t size)
{
	struct cursor k = cursor_at(c, MEM_WRITE, at);
	struct virtqueue_buffer piece;
	uint64_t done = 0;

	for (; next_piece(&k, size - done, &piece); done += piece.size)
		if (mem_write(m, piece.gpa, (const uint8_t *)from + done, piece.size) < 0)
			break;
	return done;
}

int virtqueue_io_begin(struct virtqueue_io *io, struct mem *m, const struct virtqueue_chain *c, enum mem_use use, uint64_t at,
		       uint64_t size)
{
	struct cursor k = cursor_at(c, use, at);
	struct virtqueue_buffer piece;
	uint64_t done = 0;

	io->mem = m;
	io->count = 0;
	for (; next_piece(&k, size - done, &piece); done += piece.size, io->count++) {
		void *hva = mem_pin(m, &io->pin[io->count], piece.gpa, piece.size, use);

		ensure(hva); /* virtqueue_pop() has found all of the chain to be RAM, which does not go away */
		io->vector[io->count] = (struct iovec){.iov_base = hva, .iov_len = piece.size};
	}
	ensure(done == size);
	if (!mem_is_lost(m))
		return 0;
	virtqueue_io_end(io);
	return -EIO;
}

void virtqueue_io_end(struct virtqueue_io *io)
{
	while (io->count)
		mem_unpin(io->mem, &io->pin[--io->count]);
}
