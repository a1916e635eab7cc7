#include "replay/log_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "snapshot/read_all.h"
#include "snapshot/reason.h"

static int check_header(const struct log_reader *r, struct reason *why)
{
	const struct log_header *h = &r->header;

	if (memcmp(h->magic, log_magic, sizeof(h->magic)) != 0)
		return reason_give(why, EBADMSG, "%s: not the log of a recording", r->name);
	if (h->version != LOG_VERSION)
		return reason_give(why, ENOTSUP, "%s: version %u of the format; this program reads version %u", r->name, h->version,
				   LOG_VERSION);
	if (h->checksum != log_header_checksum(h))
		return reason_give(why, EBADMSG, "%s: damaged: its header's checksum is wrong", r->name);
	if (h->flags)
		return reason_give(why, ENOTSUP, "%s: has flags 0x%x, which this program does not know", r->name, h->flags);
	return 0;
}

static int read_header(struct log_reader *r, struct reason *why)
{
	struct stat st;
	int error = fstat(r->fd, &st) ? -errno : read_all(r->fd, &r->header, sizeof(r->header), 0);

	if (error == -ENODATA)
		return reason_give(why, EBADMSG, "%s: not the log of a recording: too short", r->name);
	if (error < 0)
		return reason_errno(why, -error, "%s", r->name);
	r->size = (uint64_t)st.st_size;
	r->at = sizeof(r->header);
	r->position = r->header.position;
	r->checksum = r->header.checksum;
	return check_header(r, why);
}

int log_reader_open(struct log_reader *r, int fd, const char *name, struct reason *why)
{
	int error;

	*r = (struct log_reader){.fd = fd, .name = name, .block = malloc(LOG_BLOCK_MOST)};
	error = r->block ? read_header(r, why) : reason_errno(why, ENOMEM, "%s", name);
	if (error < 0)
		log_reader_close(r);
	return error;
}

/* The next block, into r->block. -ENODATA: there is no whole one. */
static int read_block(struct log_reader *r, struct log_block *b)
{
	int error = read_all(r->fd, b, sizeof(*b), r->at);

	if (error == 0 && (!b->bytes || b->bytes > LOG_BLOCK_MOST))
		return -ENODATA;
	if (error == 0)
		error = read_all(r->fd, r->block, b->bytes, r->at + sizeof(*b));
	if (error == 0 && log_block_checksum(b, r->block, r->checksum) != b->checksum)
		return -ENODATA;
	return error;
}

static int nonsense(const struct log_reader *r, struct reason *why, const char *what)
{
	return reason_give(why, EBADMSG, "%s: the block that ends at byte %" PRIu64 " makes no sense: %s", r->name, r->at, what);
}

static int next_block(struct log_reader *r, struct reason *why)
{
	struct log_block b;
	int error = read_block(r, &b);

	if (error < 0)
		return error == -ENODATA ? 0 : reason_errno(why, -error, "%s", r->name);
	r->at += sizeof(b) + b.bytes;
	r->seed = r->checksum;
	r->checksum = b.checksum;
	r->used = b.bytes;
	r->next = 0;
	r->events = b.events;
	if (r->ended)
		return nonsense(r, why, "it comes behind the end");
	if (b.from != r->position)
		return nonsense(r, why, "it does not begin where the one before it ends");
	return r->events ? 1 : nonsense(r, why, "it has no events");
}

int log_reader_next(struct log_reader *r, struct event *e, struct reason *why)
{
	int n = r->events ? 1 : next_block(r, why);
	size_t bytes;

	if (n <= 0)
		return n;
	bytes = r->ended ? 0 : event_decode(e, r->position, r->block + r->next, r->used - r->next);
	if (!bytes)
		return nonsense(r, why, r->ended ? "something comes behind the end" : "there is no event where one should be");
	r->next += (uint32_t)bytes;
	r->events--;
	if (!r->events && r->next != r->used)
		return nonsense(r, why, "there is more than its events");
	r->position = e->position;
	r->ended = e->kind == EVENT_END;
	return 1;
}

void log_reader_mark(const struct log_reader *r, struct log_mark *m)
{
	*m = (struct log_mark){
		.at = r->at, .position = r->position, .checksum = r->checksum, .seed = r->seed,
		.used = r->used, .next = r->next, .events = r->events, .ended = r->ended,
	};
}

static int reread_block(struct log_reader *r, const struct log_mark *m)
{
	struct log_block b;

	r->at = m->at - m->used - sizeof(b);
	r->checksum = m->seed;
	if (read_block(r, &b) < 0 || b.bytes != m->used || b.checksum != m->checksum)
		return -EBADMSG;
	return 0;
}

int log_reader_return(struct log_reader *r, const struct log_mark *m, struct reason *why)
{
	int error = m->used ? reread_block(r, m) : 0;

	r->at = m->at;
	r->position = m->position;
	r->checksum = m->checksum;
	r->seed = m->seed;
	r->used = m->used;
	r->next = m->next;
	r->events = m->events;
	r->ended = m->ended;
	return error < 0 ? reason_give(why, -error, "%s: is not any more what it was when it was read first", r->name) : 0;
}

uint64_t log_reader_left(const struct log_reader *r)
{
	return r->size > r->at ? r->size - r->at : 0;
}

void log_reader_close(struct log_reader *r)
{
	free(r->block);
	r->block = NULL;
}
