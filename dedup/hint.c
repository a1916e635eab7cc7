#include "dedup/hint.h"

#include <stddef.h>

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
	w->hints = (struct mem_listener){.zeroed = on_zeroed};
	mem_listen(&w->vm->mem, &w->hints);
}

void hint_end(struct ward *w)
{
	mem_unlisten(&w->vm->mem, &w->hints);
}
