#include "replay/mark_find.h"

#include <stdbool.h>
#include <string.h>

#include "replay/log_reader.h"

_Static_assert(EVENT_ID_BYTES == LOG_ID_BYTES, "both are of snapshots");

struct search {
	const uint8_t *id;
	uint64_t events;   /* so far */
	uint64_t complete; /* of these, before a point of which only a part is there */
	uint64_t ends;	   /* position of the last of those */
	struct mark_place last, found;
	uint8_t last_id[EVENT_ID_BYTES]; /* of the one that was taken last: copies are made of that */
	bool has_last, has_found;
};

static void take_mark(struct search *s, const struct event *e)
{
	bool wanted = !memcmp(e->mark.id, s->id, EVENT_ID_BYTES);

	if (e->mark.what == MARK_SAVED) {
		s->last = (struct mark_place){.events = s->events, .position = e->position, .digest = e->mark.digest};
		memcpy(s->last_id, e->mark.id, EVENT_ID_BYTES);
		s->has_last = true;
	} else if (e->mark.what == MARK_BEGUN || memcmp(e->mark.of, s->last_id, EVENT_ID_BYTES) != 0) {
		return;
	}
	if (!wanted || !s->has_last)
		return;
	s->found = s->last;
	s->has_found = true;
}

/* Pages are nothing without the state that they belong to. */
static void take(struct search *s, const struct event *e)
{
	s->events++;
	if (e->kind == EVENT_MARK)
		take_mark(s, e);
	if (e->kind == EVENT_PAGE)
		return;
	s->complete = s->events;
	s->ends = e->position;
}

static int search(struct search *s, struct log_reader *r, struct reason *why)
{
	struct event e;
	int n;

	s->ends = r->header.position;
	if (!memcmp(r->header.start, s->id, LOG_ID_BYTES)) {
		s->found = (struct mark_place){.position = r->header.position};
		s->has_found = true;
	}
	while ((n = log_reader_next(r, &e, why)) == 1)
		take(s, &e);
	return n;
}

int mark_find(int fd, const char *name, const uint8_t id[EVENT_ID_BYTES], struct mark_place *p, struct reason *why)
{
	struct search s = {.id = id};
	struct log_reader r;
	uint64_t unused;
	int err = log_reader_open(&r, fd, name, why);

	if (err < 0)
		return err;
	err = search(&s, &r, why);
	unused = log_reader_left(&r);
	log_reader_close(&r);
	if (err < 0)
		return err;
	if (!s.has_found)
		return 0;
	*p = s.found;
	p->use = s.complete - p->events;
	p->ends = s.ends;
	p->unused = unused;
	return 1;
}
