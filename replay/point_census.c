#include "replay/point_census.h"

#include <errno.h>
#include <stdlib.h>

#include "replay/log_reader.h"
#include "replay/packed.h"
#include "snapshot/reason.h"

static int add(struct point_census *c, uint64_t rip)
{
	uint64_t *more;

	/* Room doubles: it is full when the count is a power of two. */
	if (!(c->count & (c->count - 1))) {
		more = reallocarray(c->rip, c->count ? 2 * c->count : 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		c->rip = more;
	}
	c->rip[c->count++] = rip;
	return 0;
}

static int add_all(struct point_census *c, struct log_reader *r)
{
	struct reason ignored;
	struct cpu_state cpu;
	struct event e;
	int err = 0;

	while (err == 0 && log_reader_next(r, &e, &ignored) == 1) {
		if (e.kind == EVENT_STATE && packed_state_out(e.packed.bytes, e.packed.size, &cpu))
			err = add(c, cpu.rip);
	}
	return err;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int point_census_take(struct point_census *c, int fd, const char *name)
{
	struct log_reader r;
	struct reason ignored;
	int err;

	*c = (struct point_census){0};
	err = log_reader_open(&r, fd, name, &ignored);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	err = add_all(c, &r);
	log_reader_close(&r);
	if (err < 0)
		point_census_free(c);
	else if (c->count)
		qsort(c->rip, c->count, sizeof(*c->rip), compare);
	return err;
}

void point_census_free(struct point_census *c)
{
	free(c->rip);
	*c = (struct point_census){0};
}

/* The first that is not before `rip`. */
static size_t lower_bound(const struct point_census *c, uint64_t rip)
{
	size_t from = 0, n = c->count;

	while (n) {
		size_t half = n / 2;

		if (c->rip[from + half] < rip) {
			from += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return from;
}

size_t point_census_at(const struct point_census *c, uint64_t rip)
{
	size_t from = lower_bound(c, rip), end = from;

	while (end < c->count && c->rip[end] == rip)
		end++;
	return end - from;
}
