#include "replay/state_digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/ram_digest.h"
#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/log.h"

#define BITS 64u

static uint64_t bitmap_bytes(const struct state_digest *d)
{
	return (state_digest_pages(d) + BITS - 1) / BITS * sizeof(uint64_t);
}

void state_digest_init(struct state_digest *d, struct mem *m, struct dirty *dirty)
{
	*d = (struct state_digest){.mem = m, .dirty = dirty};
}

bool state_digest_can(const struct state_digest *d)
{
	return !d->mem->paged && !d->mem->backed;
}

static int look(void *arg, uint64_t gpa, uint64_t size)
{
	struct state_digest *d = arg;
	uint64_t n = mem_page_number(d->mem, gpa);

	for (uint64_t end = gpa + size; gpa < end; gpa += PAGE_SIZE, n++) {
		uint64_t now = page_digest(mem_at(d->mem, gpa, PAGE_SIZE, MEM_READ), gpa);

		d->looked_at++;
		if (now == d->page[n])
			continue;
		d->ram += now - d->page[n];
		d->page[n] = now;
		d->changed[n / BITS] |= 1ull << n % BITS;
		d->changes++;
	}
	return 0;
}

static int begin(struct state_digest *d)
{
	int r;

	if (!d->page)
		d->page = calloc(state_digest_pages(d), sizeof(*d->page));
	if (!d->changed)
		d->changed = calloc(1, bitmap_bytes(d));
	if (!d->page || !d->changed)
		return log_errno(ENOMEM, "digest of the guest's RAM");
	if (!d->taken.words && (r = dirty_set_alloc(d->dirty, &d->taken)) < 0)
		return r;
	r = dirty_begin(d->dirty, &d->consumer);
	d->noting = r == 0;
	return r;
}

static int look_at_all(struct state_digest *d)
{
	struct reason why = {0};
	int r = begin(d);

	if (r < 0)
		return r;
	r = touched_walk(d->mem, look, d, &why);
	if (r == 0)
		return 0;
	state_digest_end(d);
	return log_bad(-r, "digest of the guest's RAM: %s", why.text);
}

int state_digest_take(struct state_digest *d)
{
	int r;

	d->looked_at = d->changes = 0;
	if (!d->noting)
		return look_at_all(d);
	memset(d->changed, 0, bitmap_bytes(d));
	r = dirty_take(d->dirty, &d->consumer, &d->taken);
	return r < 0 ? r : dirty_walk(d->dirty, &d->taken, look, d);
}

void state_digest_end(struct state_digest *d)
{
	if (d->noting)
		dirty_end(d->dirty, &d->consumer);
	d->noting = false;
}

void state_digest_free(struct state_digest *d)
{
	dirty_set_free(&d->taken);
	free(d->changed);
	free(d->page);
}

uint32_t state_digest_sum(const struct state_digest *d, uint64_t page, uint64_t pages)
{
	uint64_t sum = 0;

	for (uint64_t i = page; i < page + pages; i++)
		sum += d->page[i];
	return (uint32_t)sum;
}

uint64_t state_digest_changed(const struct state_digest *d, uint64_t page)
{
	uint64_t words = bitmap_bytes(d) / sizeof(uint64_t), word = page / BITS, bits;

	if (word >= words)
		return UINT64_MAX;
	bits = d->changed[word] & UINT64_MAX << page % BITS;
	while (!bits && ++word < words)
		bits = d->changed[word];
	return bits ? word * BITS + (unsigned int)__builtin_ctzll(bits) : UINT64_MAX;
}

/* From `page` on to the last of `most` pages that are another; *next is the next such page. */
static struct event_row row(const struct state_digest *d, uint64_t page, uint64_t most, uint64_t *next)
{
	uint64_t last = page;

	while ((*next = state_digest_changed(d, last + 1)) != UINT64_MAX && --most)
		last = *next;
	return (struct event_row){(uint32_t)page, (uint32_t)(last - page + 1), state_digest_sum(d, page, last - page + 1)};
}

unsigned int state_digest_rows(const struct state_digest *d, struct event_row rows[EVENT_DIGEST_ROWS_MOST], unsigned int most)
{
	uint64_t each = (d->changes + most - 1) / most, page = state_digest_changed(d, 0);
	unsigned int n = 0;

	for (; page != UINT64_MAX && n < most; n++)
		rows[n] = row(d, page, each, &page);
	return n;
}
