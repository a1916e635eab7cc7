#include "dedup/epoch.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "dedup/hint.h"
#include "dedup/own_copy.h"
#include "dedup/ward.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define NOT_YET 1
#define NOT_WATCHED 2
#define WORD_BITS 64u
#define AT_A_TIME 512u /* pages under the lock, for which a guest's fault may have to wait */

/* The first of all: RAM is exchanged from now on, and the log is kept. */
static int open_ward(struct ward *w, struct vm *vm)
{
	int r = userfault_exchange_begin(&vm->userfault, &w->pager);

	if (r < 0)
		return r;
	r = dirty_set_alloc(&vm->dirty, &w->written);
	if (r < 0)
		goto end;
	r = dirty_begin(&vm->dirty, &w->consumer);
	if (r < 0)
		goto set;
	hint_begin(w);
	return 0;
set:
	dirty_set_free(&w->written);
end:
	userfault_exchange_end(&vm->userfault);
	return r;
}

static bool can_watch(const struct vm *vm)
{
	return vm->mmu && vm->mmu->accessed && !vm_ended(vm);
}

/* Reads, too, where the MMU mode can tell of them; elsewhere they are learnt when a page that went cold is wanted back. */
static int take_used(struct ward *w, struct vm *vm)
{
	memset(w->used, 0, (w->pages / WORD_BITS + 1) * sizeof(*w->used));
	return can_watch(vm) ? vm->mmu->accessed(vm, w->used) : 0;
}

static int take_epoch(struct ward *w, struct vm *vm)
{
	int r = take_used(w, vm);

	return r < 0 ? r : dirty_take(&vm->dirty, &w->consumer, &w->written);
}

static struct ward *ward_of(struct vcpu_work *work)
{
	return (struct ward *)((char *)work - offsetof(struct ward, work));
}

static void on_vcpu(struct vcpu_work *work, struct vm *vm)
{
	struct ward *w = ward_of(work);
	int r;

	if (w->state == WARD_NEW)
		r = open_ward(w, vm);
	else
		r = take_epoch(w, vm);
	atomic_store(&w->answer, r);
}

static void unwatch_on_vcpu(struct vcpu_work *work, struct vm *vm)
{
	if (can_watch(vm))
		vm->mmu->accessed(vm, NULL);
	atomic_store(&ward_of(work)->answer, NOT_WATCHED);
}

static void ask(struct ward *w, void (*run)(struct vcpu_work *work, struct vm *vm))
{
	atomic_store(&w->answer, NOT_YET);
	w->work.run = run;
	w->asked = vcpu_post(&w->vm->vcpu, &w->work);
	if (!w->asked)
		w->state = WARD_ENDED;
}

void epoch_ask(struct ward *w, uint64_t now, uint64_t length)
{
	if (w->asked || w->state > WARD_OPEN || (w->epoch_ns && now - w->epoch_ns < length))
		return;
	w->watched = true;
	ask(w, on_vcpu);
}

void epoch_pause(struct ward *w)
{
	if (w->asked || w->state > WARD_OPEN || !w->watched)
		return;
	w->watched = false;
	ask(w, unwatch_on_vcpu);
}

/* Of a page that the guest has written. */
static void grow_young(struct ward *w, uint64_t page)
{
	enum page_kind kind = record_kind(w->record[page]);

	w->age[page] = (uint8_t)(w->age[page] & ~AGE_MOST);
	if (kind_is_cold(kind))
		return; /* it was written before it went, in the same epoch */
	if (kind == PAGE_SHARED && !own_copy(w->vm, page))
		return; /* KVM counts pages as written that it only mapped anew */
	w->counts.broken += kind == PAGE_SHARED || kind == PAGE_ZERO;
	if (kind != PAGE_UNKNOWN)
		ward_set(w, page, record_make(PAGE_UNKNOWN, 0, 0));
}

/* There may be others by now that it resembles: once in a long idle time. A page without a hash was never looked at for that. */
static void try_again(struct ward *w, uint64_t page)
{
	uint32_t hash = record_hash(w->record[page]);

	if (!hash)
		return;
	ward_set(w, page, record_make(PAGE_UNIQUE, 0, hash));
	ward_enqueue(&w->cold, page);
}

static void grow_old(struct ward *w, uint64_t page)
{
	enum page_kind kind = record_kind(w->record[page]);
	unsigned int epochs = age_epochs(w->age[page]);

	/* What is read may be shared all the same, but must not go cold. */
	if (w->used[page / WORD_BITS] >> page % WORD_BITS & 1 && kind_has_hash(kind))
		epochs = 0;
	if (epochs < AGE_MOST)
		w->age[page] = (uint8_t)((w->age[page] & ~AGE_MOST) | (epochs + 1));
	if (kind == PAGE_DENSE && epochs == AGE_MOST - 1)
		try_again(w, page);
	if (kind == PAGE_UNKNOWN)
		ward_enqueue(epochs == 0 ? &w->fresh : &w->rest, page);
	else if (kind == PAGE_UNIQUE && epochs + 1 >= age_for_cold(w->age[page]))
		ward_enqueue(&w->cold, page);
}

/* Of a region whose first page is `page`. */
static void age_some(struct ward *w, uint64_t page, const uint64_t *written, uint64_t first, uint64_t end)
{
	pthread_mutex_lock(&w->group->lock);
	for (uint64_t i = first; i < end; i++) {
		if (written[i / WORD_BITS] >> i % WORD_BITS & 1)
			grow_young(w, page + i);
		else
			grow_old(w, page + i);
	}
	pthread_mutex_unlock(&w->group->lock);
}

static void age_all(struct ward *w)
{
	const struct mem *m = &w->vm->mem;
	uint64_t page = 0;

	for (unsigned int n = 0; n < m->region_count; n++) {
		const uint64_t *written = dirty_words(&w->vm->dirty, &w->written, n);
		uint64_t pages = m->region[n].size / PAGE_SIZE;

		for (uint64_t i = 0; i < pages; i += AT_A_TIME)
			age_some(w, page, written, i, i + AT_A_TIME < pages ? i + AT_A_TIME : pages);
		page += pages;
	}
}

/* What nobody has written since the image was loaded is idle already. */
static void begin(struct ward *w)
{
	w->state = WARD_OPEN;
	age_all(w);
}

static void refuse(struct ward *w)
{
	w->state = WARD_REFUSED;
	log_print(LOG_WARN, "scavenger: guest %u is left alone", w->vm->number);
}

bool epoch_take(struct ward *w, uint64_t now)
{
	int r = w->asked ? atomic_load(&w->answer) : NOT_YET;

	if (r == NOT_YET)
		return false;
	w->asked = false;
	if (r == NOT_WATCHED)
		return false;
	w->epoch_ns = now;
	if (w->state == WARD_NEW) {
		if (r < 0)
			refuse(w);
		else
			begin(w);
	} else if (r == 0) {
		age_all(w);
	}
	return true;
}

void epoch_close(struct ward *w)
{
	if (w->written.words) {
		hint_end(w);
		dirty_end(&w->vm->dirty, &w->consumer);
		dirty_set_free(&w->written);
	}
	w->asked = false;
	w->state = WARD_ENDED;
}
