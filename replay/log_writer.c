#include "replay/log_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/write_all.h"
#include "vmm/ensure.h"

static int write_header(struct log_writer *w, const uint8_t *id, const uint8_t *start, uint64_t position)
{
	struct log_header h = {.version = LOG_VERSION, .position = position};

	memcpy(h.magic, log_magic, sizeof(h.magic));
	memcpy(h.id, id, sizeof(h.id));
	memcpy(h.start, start, sizeof(h.start));
	h.checksum = log_header_checksum(&h);
	w->checksum = h.checksum;
	w->at = sizeof(h);
	return write_all(w->fd, &h, sizeof(h), 0);
}

int log_writer_open(struct log_writer *w, int fd, const uint8_t id[LOG_ID_BYTES], const uint8_t start[LOG_ID_BYTES], uint64_t position)
{
	int r;

	*w = (struct log_writer){.fd = fd, .position = position, .from = position, .room = malloc(sizeof(struct log_block) + LOG_BLOCK_MOST)};
	if (!w->room)
		return -ENOMEM;
	w->block = w->room + sizeof(struct log_block);
	r = write_header(w, id, start, position);
	if (r < 0)
		log_writer_close(w);
	return r;
}

static int write_block(struct log_writer *w)
{
	struct log_block b = {.bytes = w->used, .events = w->events, .from = w->from};
	int r;

	b.checksum = log_block_checksum(&b, w->block, w->checksum);
	memcpy(w->block - sizeof(b), &b, sizeof(b));
	r = write_all(w->fd, w->block - sizeof(b), sizeof(b) + w->used, w->at);
	if (r < 0)
		return r;
	w->checksum = b.checksum;
	w->at += sizeof(b) + w->used;
	return 0;
}

int log_writer_flush(struct log_writer *w)
{
	if (w->error || !w->events)
		return w->error;
	w->error = write_block(w);
	/* Half a block would only have to be explained. If that cannot be done either, readers find the end all the same. */
	if (w->error && ftruncate(w->fd, (off_t)w->at))
		return w->error;
	w->from = w->position;
	w->used = w->events = 0;
	return w->error;
}

int log_writer_put(struct log_writer *w, const struct event *e)
{
	ensure(e->position >= w->position);
	if (!w->error && w->used + event_room(e) > LOG_BLOCK_MOST)
		log_writer_flush(w);
	if (w->error)
		return w->error;
	w->used += (uint32_t)event_encode(e, w->position, w->block + w->used);
	w->position = e->position;
	w->events++;
	w->all_events++;
	return 0;
}

void log_writer_close(struct log_writer *w)
{
	free(w->room);
	w->room = w->block = NULL;
}
