#include <string.h>

#include "dedup/codec.h"
#include "dedup/equal.h"
#include "dedup/look.h"
#include "dedup/look_delta.h"
#include "dedup/look_page.h"
#include "dedup/ward.h"
#include "vmm/vm.h"

/* Puts what was found into the store; the plan, or none. */
static struct plan plan_object(struct ward *w, const void *copy, enum page_kind kind, uint32_t slot, const void *bytes, unsigned int size)
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
	return (struct plan){ACT_EVICT, record_make(kind, slot, object), copy};
}

static struct plan plan_delta(struct look *l, struct ward *w, const void *copy, struct delta *d)
{
	if (!delta_make_reference(l, d))
		return (struct plan){.act = ACT_NONE};
	return plan_object(w, copy, PAGE_COLD_DELTA, d->slot, d->bytes, d->size);
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
	struct delta best = {.size = 0};
	uint8_t bytes[CODEC_MOST];
	unsigned int alone = 0;

	if (l->last >= SCAVENGE_DELTA)
		look_for_delta(l, w, page, i, &best);
	if (l->last >= SCAVENGE_COMPRESS)
		alone = codec_alone(l->codec, l->copy[i], bytes, best.size > 1 ? best.size - 1 : CODEC_MOST);
	if (alone) {
		delta_forget(w->group, &best);
		return plan_object(w, l->copy[i], PAGE_COLD_ALONE, 0, bytes, alone);
	}
	if (best.size)
		return plan_delta(l, w, l->copy[i], &best);
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

static struct plan plan_same(struct ward *w, const struct equal *e, const void *bytes, uint32_t hash)
{
	struct group *g = w->group;
	uint32_t slot = e->kind == EQUAL_SLOT ? e->slot : equal_share(w, bytes, 1, &hash);

	if (slot == POOL_NONE)
		return (struct plan){.act = ACT_NONE};
	if (e->kind == EQUAL_PAGE)
		recall(e);
	return (struct plan){ACT_EVICT, record_make(PAGE_COLD_SAME, slot, 0), pool_page(g->pool, slot)};
}

/* It may have been written, brought back or exchanged since it was queued, or since it was taken. */
static bool is_due(const struct ward *w, uint64_t page, uint32_t *hash)
{
	page_record r;
	bool due;

	pthread_mutex_lock(&w->group->lock);
	r = w->record[page];
	due = record_kind(r) == PAGE_UNIQUE && age_epochs(w->age[page]) >= age_for_cold(w->age[page]);
	pthread_mutex_unlock(&w->group->lock);
	*hash = record_hash(r);
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
static void take(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	l->at[i] = is_due(w, page, &l->hash[i]) ? look_page(w, page) : NULL;
	if (!l->at[i] || l->last < SCAVENGE_DELTA)
		return;
	l->at[i] = memcpy(l->copy[i], l->at[i], PAGE_SIZE);
	similar_sketch(l->copy[i], &l->sketch[i]);
	set_similar(l, w, page, i, true);
}

/* Its hash is that of the first look. If it has been written since, nothing is equal. */
static struct plan plan_cold(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct equal e;

	if (equal_is_zero(l->at[i]))
		return (struct plan){ACT_ZERO, record_make(PAGE_ZERO, 0, 0), NULL};
	e = equal_find(w, page, l->at[i], l->hash[i]);
	if (e.kind != EQUAL_NONE)
		return plan_same(w, &e, l->at[i], l->hash[i]);
	return plan_smaller(l, w, page, i);
}

/* A page that is about to go is nothing to keep others by. */
static struct plan plan(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct plan p = {.act = ACT_NONE};
	uint32_t hash;

	if (!l->at[i] || !is_due(w, page, &hash))
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
	for (unsigned int i = 0; i < n; i++)
		take(l, w, page + i, i);
	for (unsigned int i = 0; i < n; i++)
		l->plan[i] = plan(l, w, page + i, i);
	exchange(w, page, n, l->plan);
	w->counts.scanned += n;
}
