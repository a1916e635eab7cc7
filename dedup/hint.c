#include "dedup/hint.h"

#include <stddef.h>
#include <string.h>

#include "dedup/ward.h"
#include "vmm/vm.h"

/*
 * The vCPU's thread, between what the scavenging thread does with these pages: they are nobody's now. That thread may yet note what it has
 * found there just before, which is an old hash, and does no harm: bytes are always compared.
 */
static void on_zeroed(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct ward *w = (struct ward *)((char *)l - offsetof(struct ward, hints));
	uint64_t first = mem_page_number(&w->vm->mem, gpa), pages = size / PAGE_SIZE;

	dirty_drop(&w->vm->dirty, &w->consumer, gpa, size);
	pthread_mutex_lock(&w->group->lock);
	for (uint64_t page = first; page < first + pages; page++)
		/* It has gone cold again: that it is zero is in the store. */
		if (!kind_is_cold(record_kind(w->record[page])))
			ward_set(w, page, record_make(PAGE_ZERO, 0, 0));
	w->counts.reported += pages;
	pthread_mutex_unlock(&w->group->lock);
}

void hint_begin(struct ward *w)
{
	memcpy(w->loaded, w->vm->loaded.extent, sizeof(w->loaded));
	w->hints = (struct mem_listener){.zeroed = on_zeroed};
	mem_listen(&w->vm->mem, &w->hints);
}

void hint_end(struct ward *w)
{
	mem_unlisten(&w->vm->mem, &w->hints);
}

/* Of one extent, of which the rest is left. */
static unsigned int next_of(struct ward *w, struct loaded_extent *e, unsigned int most, uint64_t *page)
{
	unsigned int n = 0;

	while (e->size && n == 0) {
		uint64_t left = e->size / PAGE_SIZE, gone;

		*page = mem_page_number(&w->vm->mem, e->gpa);
		n = ward_take(&w->fresh, *page, most < left ? most : left);
		gone = (n ? n : 1) * PAGE_SIZE;
		e->gpa += gone;
		e->size -= gone;
	}
	return n;
}

unsigned int hint_next_loaded(struct ward *w, unsigned int most, uint64_t *page)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < LOADED_EXTENTS && n == 0; i++)
		n = next_of(w, &w->loaded[i], most, page);
	return n;
}
