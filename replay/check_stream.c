#include "replay/check_stream.h"

#include "snapshot/reason.h"

int check_stream_open(struct check_stream *c, int fd, const char *name, struct reason *why)
{
	*c = (struct check_stream){.over = false};
	return log_reader_open(&c->reader, fd, name, why);
}

void check_stream_close(struct check_stream *c)
{
	log_reader_close(&c->reader);
}

void check_stream_mark(const struct check_stream *c, struct check_mark *m)
{
	*m = (struct check_mark){.bytes = c->bytes, .left = c->left, .over = c->over};
	log_reader_mark(&c->reader, &m->reader);
}

int check_stream_return(struct check_stream *c, const struct check_mark *m, struct reason *why)
{
	c->bytes = m->bytes;
	c->left = m->left;
	c->over = m->over;
	return log_reader_return(&c->reader, &m->reader, why);
}

/* What is wrong with the log is said by who reads its events. */
static void advance(struct check_stream *c)
{
	struct reason why = {0};
	struct event e;

	while (!c->left && !c->over) {
		c->over = log_reader_next(&c->reader, &e, &why) <= 0;
		if (c->over || e.kind != EVENT_CHECKS)
			continue;
		c->bytes = e.checks.bytes;
		c->left = e.checks.count;
	}
}

bool check_stream_next(struct check_stream *c, uint8_t *check)
{
	advance(c);
	if (!c->left)
		return false;
	*check = *c->bytes++;
	c->left--;
	return true;
}
