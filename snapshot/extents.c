#include "snapshot/extents.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "snapshot/image_reader.h"
#include "vmm/mem.h"

static uint64_t end_of(const struct extent *x)
{
	return x->gpa + x->pages * PAGE_SIZE;
}

static bool add(struct extents *e, const struct extent *x)
{
	size_t room = e->room ? 2 * e->room : 64;
	struct extent *bigger;

	if (e->count == e->room) {
		bigger = reallocarray(e->extent, room, sizeof(*bigger));
		if (!bigger)
			return false;
		e->extent = bigger;
		e->room = room;
	}
	e->extent[e->count++] = *x;
	return true;
}

/* [from, to) of a run of this part. */
static struct extent piece(const struct image_reader *part, const struct page_run *run, uint64_t from, uint64_t to)
{
	return (struct extent){
		.gpa = from,
		.pages = (to - from) / PAGE_SIZE,
		.part = run->zero ? NULL : part,
		.checksum = run->zero ? NULL : part->sn.pages.checksum + run->checksum + (from - run->gpa) / PAGE_SIZE,
	};
}

struct merge {
	const struct extents *over; /* of newer parts: they win */
	size_t next;		    /* in it */
	struct extents *out;
};

/* Takes over what begins before `gpa`, and returns where that ends. */
static bool take_over(struct merge *m, uint64_t gpa, uint64_t *end)
{
	bool ok = true;

	while (ok && m->next < m->over->count && m->over->extent[m->next].gpa < gpa) {
		const struct extent *x = &m->over->extent[m->next++];

		*end = end_of(x);
		ok = add(m->out, x);
	}
	return ok;
}

/* What no newer part has of this run. */
static bool lay_run(struct merge *m, const struct image_reader *part, const struct page_run *run, uint64_t *covered)
{
	uint64_t at = run->gpa, end = run->gpa + run->pages * PAGE_SIZE;
	bool ok = true;

	while (ok && at < end) {
		uint64_t stop = end;

		ok = take_over(m, at + 1, covered);
		at = *covered > at ? *covered : at;
		if (m->next < m->over->count && m->over->extent[m->next].gpa < end)
			stop = m->over->extent[m->next].gpa;
		if (ok && at < stop) {
			struct extent x = piece(part, run, at, stop);

			ok = add(m->out, &x);
			at = stop;
		}
	}
	return ok;
}

static bool lay_under(struct extents *e, const struct image_reader *part)
{
	struct extents out = {0};
	struct merge m = {.over = e, .out = &out};
	uint64_t covered = 0;
	bool ok = true;

	for (size_t i = 0; ok && i < part->sn.pages.runs; i++)
		ok = lay_run(&m, part, &part->sn.pages.run[i], &covered);
	ok = ok && take_over(&m, UINT64_MAX, &covered);
	extents_free(ok ? e : &out);
	if (ok)
		*e = out;
	return ok;
}

/* They were there to hide what older parts have in their place. */
static void drop_zeros(struct extents *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->count; i++)
		if (e->extent[i].part)
			e->extent[n++] = e->extent[i];
	e->count = n;
}

int extents_make(struct extents *e, const struct image_reader *r)
{
	*e = (struct extents){0};
	for (; r; r = r->parent) {
		if (lay_under(e, r))
			continue;
		extents_free(e);
		return -ENOMEM;
	}
	drop_zeros(e);
	return 0;
}

void extents_free(struct extents *e)
{
	free(e->extent);
	*e = (struct extents){0};
}

const struct extent *extents_find(const struct extents *e, uint64_t gpa, uint64_t *end)
{
	size_t low = 0, high = e->count; /* the first that ends behind gpa is in [low, high] */

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (end_of(&e->extent[middle]) <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	*end = low < e->count ? e->extent[low].gpa : UINT64_MAX;
	return low < e->count && e->extent[low].gpa <= gpa ? &e->extent[low] : NULL;
}
