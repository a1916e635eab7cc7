#include "dedup/cold_ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "dedup/codec.h"
#include "dedup/ward.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/vm.h"

/* One page as it is kept: the slot stays as long as the page is cold, and it is cold until this is done with it. */
struct kept {
	enum page_kind kind;
	const void *slot;
	unsigned int size;
	uint8_t bytes[STORE_MOST];
};

static struct ward *ward_of(struct pager *p)
{
	return (struct ward *)((char *)p - offsetof(struct ward, pager));
}

static void look_up(struct ward *w, uint64_t page, struct kept *k)
{
	struct group *g = w->group;
	const void *object;
	page_record r;

	pthread_mutex_lock(&g->lock);
	r = w->record[page];
	k->kind = record_kind(r);
	ensure(kind_is_cold(k->kind));
	k->slot = kind_has_slot(k->kind) ? pool_page(g->pool, record_slot(r)) : NULL;
	if (kind_has_object(k->kind)) {
		object = store_get(g->store, record_object(r), &k->size);
		memcpy(k->bytes, object, k->size);
	}
	pthread_mutex_unlock(&g->lock);
}

static int unpack(const struct kept *k, void *to)
{
	if (k->kind == PAGE_COLD_DELTA)
		return codec_page_delta(k->bytes, k->size, k->slot, to);
	return codec_page_alone(k->bytes, k->size, to);
}

static int bring(struct ward *w, uint64_t page, void *to)
{
	struct kept k;
	int r = 0;

	look_up(w, page, &k);
	if (k.kind == PAGE_COLD_SAME)
		memcpy(to, k.slot, PAGE_SIZE);
	else
		r = unpack(&k, to);
	return r < 0 ? log_errno(-r, "scavenger: guest %u: page %" PRIu64 " in the store", w->vm->number, page) : 0;
}

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	struct ward *w = ward_of(p);
	uint64_t first = mem_page_number(&w->vm->mem, gpa);
	unsigned int n = 0;

	*bytes = buffer;
	while (n < pages) {
		int r = bring(w, first + n, (uint8_t *)buffer + n * PAGE_SIZE);

		if (r < 0)
			return n ? (int)n : r;
		n++;
	}
	return (int)n;
}

static void brought(struct pager *p, uint64_t gpa, unsigned int pages, bool fault)
{
	struct ward *w = ward_of(p);
	uint64_t first = mem_page_number(&w->vm->mem, gpa);

	pthread_mutex_lock(&w->group->lock);
	for (uint64_t page = first; page < first + pages; page++) {
		w->counts.brought[record_kind(w->record[page])]++;
		ward_set(w, page, record_make(PAGE_UNKNOWN, 0, 0));
		w->age[page] = (uint8_t)(w->age[page] & ~AGE_MOST);
	}
	if (fault) {
		w->counts.refaults++;
		w->reads_on = first == w->next_fault;
		ward_refaulted(w, first);
	}
	w->next_fault = first + pages;
	pthread_mutex_unlock(&w->group->lock);
}

/* Neighbours only for a guest that reads on: otherwise they would be brought for nothing. */
static unsigned int read_ahead(struct pager *p, uint64_t gpa)
{
	struct ward *w = ward_of(p);
	bool reads_on;

	pthread_mutex_lock(&w->group->lock);
	reads_on = w->reads_on;
	pthread_mutex_unlock(&w->group->lock);
	return reads_on ? COLD_AHEAD : 0;
}

void cold_ram_init(struct ward *w)
{
	w->pager = (struct pager){.name = "the scavenger's store", .ahead = 1, .fetch = fetch, .read_ahead = read_ahead,
				  .brought = brought};
}
