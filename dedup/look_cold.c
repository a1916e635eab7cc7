#include <string.h>

#include "dedup/codec.h"
#include "dedup/equal.h"
#include "dedup/look.h"
#include "dedup/look_copy.h"
#include "dedup/ward.h"
#include "vmm/vm.h"

#define MOST_DELTA 2048u /* bytes: where Difference Engine (OSDI 2008) gives up, too */

#define GOOD_DELTA 256u /* no other is looked for */

/* The best that was found for a page. */
struct found {
	unsigned int size; /* 0 = nothing */
	uint8_t bytes[CODEC_MOST];
	uint32_t slot;	      /* what the delta is against, needed; or, with a ward, still to be made */
	struct ward *ward;    /* whose page the reference is */
	uint64_t page;
};

/* Under the lock: whether that page could be a reference: idle for long itself, so that it can go cold with the slot it becomes. */
static bool may_refer(const struct ward *w, uint64_t page)
{
	return w->state == WARD_OPEN && kind_has_hash(record_kind(w->record[page])) &&
	       age_epochs(w->age[page]) >= age_for_cold(w->age[page]);
}

/* Tries a slot as the reference. */
static void try_slot(struct look *l, struct group *g, uint32_t slot, const void *copy, struct found *best)
{
	uint8_t bytes[CODEC_MOST];
	unsigned int most = best->size ? best->size - 1 : MOST_DELTA;
	unsigned int size = most ? codec_delta(l->codec, copy, pool_page(g->pool, slot), bytes, most) : 0;

	if (!size) {
		group_release_slot(g, slot);
		return;
	}
	if (best->size && !best->ward)
		group_release_slot(g, best->slot);
	best->size = size;
	best->slot = slot;
	best->ward = NULL;
	memcpy(best->bytes, bytes, size);
}

/* Tries a resident page; what it is like now is left in l->reference if it is the best. */
static void try_page(struct look *l, struct ward *other, uint64_t page, const void *copy, struct group *g, struct found *best)
{
	uint8_t bytes[CODEC_MOST], reference[PAGE_SIZE];
	struct vm *vm = other->vm;
	unsigned int most = best->size ? best->size - 1 : MOST_DELTA, size;

	if (!most || userfault_is_absent(&vm->userfault, mem_page_gpa(&vm->mem, page)))
		return;
	memcpy(reference, mem_page_hva(&vm->mem, page), PAGE_SIZE);
	size = codec_delta(l->codec, copy, reference, bytes, most);
	if (!size)
		return;
	if (best->size && !best->ward)
		group_release_slot(g, best->slot);
	best->size = size;
	best->ward = other;
	best->page = page;
	memcpy(best->bytes, bytes, size);
	memcpy(l->reference[0], reference, PAGE_SIZE);
}

static void try_candidate(struct look *l, struct ward *w, uint64_t page, uint32_t id, const void *copy, struct found *best)
{
	struct group *g = w->group;
	struct ward *other;
	uint64_t at = 0;
	bool usable;

	pthread_mutex_lock(&g->lock);
	other = group_page(g, id, &at);
	if (other) {
		usable = may_refer(other, at) && !(other == w && at == page);
	} else {
		usable = pool_count(g->pool, id & ~ID_IS_SLOT);
		if (usable)
			pool_need(g->pool, id & ~ID_IS_SLOT);
	}
	pthread_mutex_unlock(&g->lock);
	if (usable && other)
		try_page(l, other, at, copy, g, best);
	else if (usable)
		try_slot(l, g, id & ~ID_IS_SLOT, copy, best);
}

/* Among slots, or among pages. */
static void find_among(struct look *l, struct ward *w, uint64_t page, unsigned int i, uint32_t slots, struct found *best)
{
	struct group *g = w->group;
	uint32_t id[SIMILAR_FOUND];
	unsigned int n;

	pthread_mutex_lock(&g->lock);
	n = g->similar ? similar_find(g->similar, &l->sketch[i], ID_IS_SLOT, slots, id) : 0;
	pthread_mutex_unlock(&g->lock);
	for (unsigned int c = 0; c < n && (!best->size || best->size > GOOD_DELTA); c++)
		try_candidate(l, w, page, id[c], l->copy[i], best);
}

/* A page becomes a slot, with all its bytes, so that others can be kept by it: only where there is none yet. */
static void find_delta(struct look *l, struct ward *w, uint64_t page, unsigned int i, struct found *best)
{
	find_among(l, w, page, i, ID_IS_SLOT, best);
	if (!best->size)
		find_among(l, w, page, i, 0, best);
}

/*
 * The page that the delta is against goes cold itself, as what it is now: a slot. If it has changed meanwhile, the slot serves the
 * delta alone.
 */
static bool make_reference(struct look *l, struct found *f)
{
	struct ward *w = f->ward;
	struct group *g = w->group;
	uint32_t hash = equal_hash(l->reference[0]);
	struct similar_sketch k;
	struct plan plan;

	f->slot = equal_share(w, l->reference[0], 1, &hash);
	if (f->slot == POOL_NONE)
		return false;
	similar_sketch(l->reference[0], &k);
	pthread_mutex_lock(&g->lock);
	similar_remove(g->similar, &k, ward_id(w, f->page));
	similar_add(g->similar, &k, f->slot | ID_IS_SLOT);
	pool_need(g->pool, f->slot);
	pthread_mutex_unlock(&g->lock);
	plan = (struct plan){ACT_EVICT, record_make(PAGE_COLD_SAME, f->slot, 0)};
	exchange(w, f->page, 1, &plan, (const uint8_t(*)[PAGE_SIZE])l->reference);
	return true;
}

/* Puts what was found into the store; the plan, or none. */
static struct plan plan_object(struct ward *w, enum page_kind kind, uint32_t slot, const void *bytes, unsigned int size)
{
	struct group *g = w->group;
	uint32_t object;

	pthread_mutex_lock(&g->lock);
	object = store_put(g->store, bytes, size);
	if (object == STORE_NONE && kind_has_slot(kind))
		pool_release(g->pool, slot);
	pthread_mutex_unlock(&g->lock);
	if (object == STORE_NONE)
		return (struct plan){.act = ACT_NONE};
	return (struct plan){ACT_EVICT, record_make(kind, slot, object)};
}

static struct plan plan_delta(struct look *l, struct ward *w, struct found *f)
{
	if (f->ward && !make_reference(l, f))
		return (struct plan){.act = ACT_NONE};
	return plan_object(w, PAGE_COLD_DELTA, f->slot, f->bytes, f->size);
}

static void note_dense(struct ward *w, uint64_t page, uint32_t hash)
{
	pthread_mutex_lock(&w->group->lock);
	if (kind_has_hash(record_kind(w->record[page])))
		ward_set(w, page, record_make(PAGE_DENSE, 0, hash));
	pthread_mutex_unlock(&w->group->lock);
}

/* As a delta if that is smaller than alone. */
static struct plan plan_smaller(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct found best = {.size = 0};
	uint8_t bytes[CODEC_MOST];
	unsigned int alone = 0;

	if (l->last >= SCAVENGE_DELTA)
		find_delta(l, w, page, i, &best);
	if (l->last >= SCAVENGE_COMPRESS)
		alone = codec_alone(l->codec, l->copy[i], bytes, best.size > 1 ? best.size - 1 : CODEC_MOST);
	if (alone && best.size && !best.ward)
		group_release_slot(w->group, best.slot);
	if (alone)
		return plan_object(w, PAGE_COLD_ALONE, 0, bytes, alone);
	if (best.size)
		return plan_delta(l, w, &best);
	note_dense(w, page, l->hash[i]);
	return (struct plan){.act = ACT_NONE};
}

/* A page that was left because nothing was equal to it has a slot to be equal to now. */
static void recall(const struct equal *e)
{
	struct ward *other = e->ward;

	pthread_mutex_lock(&other->group->lock);
	if (record_kind(other->record[e->page]) == PAGE_DENSE)
		ward_set(other, e->page, record_make(PAGE_UNIQUE, 0, record_hash(other->record[e->page])));
	ward_enqueue(&other->cold, e->page);
	pthread_mutex_unlock(&other->group->lock);
}

static struct plan plan_same(struct ward *w, const struct equal *e, const void *copy, uint32_t hash)
{
	uint32_t slot = e->kind == EQUAL_SLOT ? e->slot : equal_share(w, copy, 1, &hash);

	if (slot == POOL_NONE)
		return (struct plan){.act = ACT_NONE};
	if (e->kind == EQUAL_PAGE)
		recall(e);
	return (struct plan){ACT_EVICT, record_make(PAGE_COLD_SAME, slot, 0)};
}

/* It may have been written, brought back or exchanged since it was queued, or since it was copied. */
static bool is_due(const struct ward *w, uint64_t page)
{
	bool due;

	pthread_mutex_lock(&w->group->lock);
	due = record_kind(w->record[page]) == PAGE_UNIQUE && age_epochs(w->age[page]) >= age_for_cold(w->age[page]);
	pthread_mutex_unlock(&w->group->lock);
	return due;
}

/* Whether others may be kept as what differs from it. */
static void set_similar(struct look *l, struct ward *w, uint64_t page, unsigned int i, bool may)
{
	struct group *g = w->group;

	if (l->last < SCAVENGE_DELTA)
		return;
	pthread_mutex_lock(&g->lock);
	if (g->similar && may)
		similar_add(g->similar, &l->sketch[i], ward_id(w, page));
	else if (g->similar)
		similar_remove(g->similar, &l->sketch[i], ward_id(w, page));
	pthread_mutex_unlock(&g->lock);
}

/* All of them first, so that each can be kept as a delta to any other: neighbours are often alike. */
static bool take(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	if (!is_due(w, page) || !look_copy(w, page, l->copy[i]))
		return false;
	if (l->last >= SCAVENGE_DELTA)
		similar_sketch(l->copy[i], &l->sketch[i]);
	set_similar(l, w, page, i, true);
	return true;
}

static struct plan plan_cold(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct equal e;

	if (equal_is_zero(l->copy[i]))
		return (struct plan){ACT_ZERO, record_make(PAGE_ZERO, 0, 0)};
	l->hash[i] = equal_hash(l->copy[i]);
	e = equal_find(w, page, l->copy[i], l->hash[i]);
	if (e.kind != EQUAL_NONE)
		return plan_same(w, &e, l->copy[i], l->hash[i]);
	return plan_smaller(l, w, page, i);
}

/* A page that is about to go is nothing to keep others by. */
static struct plan plan(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct plan p = {.act = ACT_NONE};

	if (!is_due(w, page))
		return p;
	if (w->allowance == 0) {
		ward_enqueue(&w->cold, page);
		return p;
	}
	p = plan_cold(l, w, page, i);
	if (p.act != ACT_NONE)
		set_similar(l, w, page, i, false);
	w->allowance -= p.act == ACT_EVICT;
	return p;
}

/* A reference that was made on the way may be one of these pages: it is cold by then. */
void look_at_cold(struct look *l, struct ward *w, uint64_t page, unsigned int n)
{
	bool taken[LOOK_PAGES];

	for (unsigned int i = 0; i < n; i++)
		taken[i] = take(l, w, page + i, i);
	for (unsigned int i = 0; i < n; i++)
		l->plan[i] = taken[i] ? plan(l, w, page + i, i) : (struct plan){.act = ACT_NONE};
	exchange(w, page, n, l->plan, (const uint8_t(*)[PAGE_SIZE])l->copy);
	w->counts.scanned += n;
}
