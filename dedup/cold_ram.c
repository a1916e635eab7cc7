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

static struct ward *ward_of(struct pager *p)
{
	return (struct ward *)((char *)p - offsetof(struct ward, pager));
}

/*
 * Under the lock: copying what is kept first, to unpack it without, would take longer than that, for what a fault comes to is in no cache.
 */
static int unpack(const struct ward *w, page_record r, void *to)
{
	const struct group *g = w->group;
	const void *slot = kind_has_slot(record_kind(r)) ? pool_page(g->pool, record_slot(r)) : NULL, *bytes;
	unsigned int size;

	ensure(kind_is_cold(record_kind(r)));
	if (!kind_has_object(record_kind(r))) {
		memcpy(to, slot, PAGE_SIZE);
		return 0;
	}
	bytes = store_get(g->store, record_object(r), &size);
	return slot ? codec_page_delta(bytes, size, slot, to) : codec_page_alone(bytes, size, to);
}

static int bring(struct ward *w, uint64_t page, void *to)
{
	int r;

	pthread_mutex_lock(&w->group->lock);
	r = unpack(w, w->record[page], to);
	pthread_mutex_unlock(&w->group->lock);
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
