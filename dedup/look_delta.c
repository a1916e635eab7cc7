#include "dedup/look_delta.h"

#include <string.h>

#include "dedup/equal.h"
#include "dedup/look.h"
#include "dedup/look_page.h"
#include "dedup/ward.h"
#include "vmm/vm.h"

#define MOST_DELTA 2048u /* bytes: where Difference Engine (OSDI 2008) gives up, too */
#define GOOD_DELTA 256u	 /* no other is looked for */

/* Under the lock: whether that page could be a reference: idle for long itself, so that it can go cold with the slot it becomes. */
static bool may_refer(const struct ward *w, uint64_t page)
{
	return w->state == WARD_OPEN && kind_has_hash(record_kind(w->record[page])) &&
	       age_epochs(w->age[page]) >= age_for_cold(w->age[page]);
}

void delta_forget(struct group *g, const struct delta *d)
{
	if (d->size && !d->ward)
		group_release_slot(g, d->slot);
}

/* Bytes that a delta may have to be better than what there is. */
static unsigned int most_wanted(const struct delta *best)
{
	return best->size ? best->size - 1 : MOST_DELTA;
}

/* Against a slot, or a page of a ward. */
static void replace(struct group *g, struct delta *best, const void *bytes, unsigned int size, struct ward *ward)
{
	delta_forget(g, best);
	best->size = size;
	best->ward = ward;
	memcpy(best->bytes, bytes, size);
}

/* Tries a slot as the reference. */
static void try_slot(struct look *l, struct group *g, uint32_t slot, const void *copy, struct delta *best)
{
	uint8_t bytes[CODEC_MOST];
	unsigned int most = most_wanted(best), size = most ? codec_delta(l->codec, copy, pool_page(g->pool, slot), bytes, most) : 0;

	if (!size) {
		group_release_slot(g, slot);
		return;
	}
	replace(g, best, bytes, size, NULL);
	best->slot = slot;
}

/* Tries a resident page; what it is like now is left in l->reference if it is the best. */
static void try_page(struct look *l, struct ward *other, uint64_t page, const void *copy, struct group *g, struct delta *best)
{
	uint8_t bytes[CODEC_MOST], reference[PAGE_SIZE];
	unsigned int most = most_wanted(best), size;
	const void *at = most ? look_page(other, page) : NULL;

	if (!at)
		return;
	memcpy(reference, at, PAGE_SIZE);
	size = codec_delta(l->codec, copy, reference, bytes, most);
	if (!size)
		return;
	replace(g, best, bytes, size, other);
	best->page = page;
	memcpy(l->reference, reference, PAGE_SIZE);
}

static void try_candidate(struct look *l, struct ward *w, uint64_t page, uint32_t id, const void *copy, struct delta *best)
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
static void find_among(struct look *l, struct ward *w, uint64_t page, unsigned int i, uint32_t slots, struct delta *best)
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
void look_for_delta(struct look *l, struct ward *w, uint64_t page, unsigned int i, struct delta *best)
{
	best->size = 0;
	find_among(l, w, page, i, ID_IS_SLOT, best);
	if (!best->size)
		find_among(l, w, page, i, 0, best);
}

/* What stood under the page's name stands under the slot's. */
static void rename_reference(struct group *g, const struct look *l, const struct delta *d)
{
	struct similar_sketch k;

	similar_sketch(l->reference, &k);
	pthread_mutex_lock(&g->lock);
	similar_remove(g->similar, &k, ward_id(d->ward, d->page));
	similar_add(g->similar, &k, d->slot | ID_IS_SLOT);
	pool_need(g->pool, d->slot);
	pthread_mutex_unlock(&g->lock);
}

/* If the page has changed meanwhile, the slot serves the delta alone. */
bool delta_make_reference(struct look *l, struct delta *d)
{
	struct plan plan = {.act = ACT_EVICT, .like = l->reference};
	struct ward *w = d->ward;
	uint32_t hash;

	if (!w)
		return true;
	hash = equal_hash(l->reference);
	d->slot = equal_share(w, l->reference, 1, &hash);
	if (d->slot == POOL_NONE)
		return false;
	rename_reference(w->group, l, d);
	plan.record = record_make(PAGE_COLD_SAME, d->slot, 0);
	exchange(w, d->page, 1, &plan);
	d->ward = NULL;
	return true;
}
