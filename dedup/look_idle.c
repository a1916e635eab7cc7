#include <string.h>

#include "dedup/equal.h"
#include "dedup/look.h"
#include "dedup/map_budget.h"
#include "dedup/ward.h"
#include "vmm/vm.h"

#define MAPPINGS_OF_RUN 2u /* its own, and what is behind it */

/* A run of pages that are equal to slots in order, or to pages in order. */
struct match {
	struct equal first;
	unsigned int n;
};

/* It has its own bytes and keeps them. With `last`, it is what is found under its hash from now on, also if another was before. */
static void note_unique(struct look *l, struct ward *w, uint64_t page, unsigned int i, bool last)
{
	struct group *g = w->group;

	pthread_mutex_lock(&g->lock);
	ward_set(w, page, record_make(PAGE_UNIQUE, 0, l->hash[i]));
	if (g->same && (last || !same_index_find(g->same, l->hash[i])))
		same_index_add(g->same, l->hash[i], ward_id(w, page));
	pthread_mutex_unlock(&g->lock);
}

/* Where nothing but zero pages is looked for. */
static void note_own(struct ward *w, uint64_t page)
{
	pthread_mutex_lock(&w->group->lock);
	ward_set(w, page, record_make(PAGE_DENSE, 0, 0));
	pthread_mutex_unlock(&w->group->lock);
}

static bool follows(const struct match *m, const struct equal *e)
{
	if (e->kind != m->first.kind)
		return false;
	if (e->kind == EQUAL_SLOT)
		return e->slot == m->first.slot + m->n;
	/* Both are exchanged, and that is done within a region. */
	return e->ward == m->first.ward && e->page == m->first.page + m->n &&
	       m->n < mem_page_room(&e->ward->vm->mem, m->first.page);
}

/* For a page that needs the slot already. */
static struct plan plan_show(const struct group *g, uint32_t slot)
{
	return (struct plan){ACT_SHOW, record_make(PAGE_SHARED, slot, 0), pool_page(g->pool, slot)};
}

/* The pages that are not shown are found again when they are cold: each by the others, so not by those that were there before. */
static void leave(struct look *l, struct ward *w, uint64_t page, unsigned int first, const struct match *m)
{
	for (unsigned int i = 0; i < m->n; i++) {
		if (m->first.kind == EQUAL_SLOT)
			group_release_slot(w->group, m->first.slot + i);
		note_unique(l, w, page + first + i, first + i, m->first.kind == EQUAL_PAGE);
	}
}

/* It was brought back since it went cold: somebody reads it. */
static bool is_read(const struct ward *w, uint64_t page)
{
	bool read;

	pthread_mutex_lock(&w->group->lock);
	read = age_level(w->age[page]) > 0;
	pthread_mutex_unlock(&w->group->lock);
	return read;
}

/*
 * A mapping saves as many pages as it has. The fewer are left, the more it has to save; pages that are read would come back if they went
 * cold instead, so for them it may be one.
 */
static bool is_worth_mapping(struct map_budget *b, unsigned int pages, bool read)
{
	static const struct {
		unsigned int left_percent, pages;
	} least[] = {{75, 2}, {50, 4}, {25, 16}, {0, LOOK_PAGES}};
	uint64_t left = map_budget_left(b);
	unsigned int i = 0;

	while (left * 100 < b->most * least[i].left_percent)
		i++;
	if (pages < least[i].pages && !(read && left * 4 > b->most))
		return false;
	return map_budget_take(b, MAPPINGS_OF_RUN);
}

/* There is no mapping for them: they will be found equal to the slots, and go on from there. */
static void send_others(const struct match *m)
{
	struct ward *other = m->first.ward;

	pthread_mutex_lock(&other->group->lock);
	for (uint64_t page = m->first.page; page < m->first.page + m->n; page++)
		if (kind_has_hash(record_kind(other->record[page]))) {
			ward_set(other, page, record_make(PAGE_UNKNOWN, 0, 0));
			ward_enqueue(&other->rest, page);
		}
	pthread_mutex_unlock(&other->group->lock);
}

/* What the pages were found equal to is shown from the same slots. */
static void show_others(struct look *l, const struct match *m, uint32_t slot)
{
	struct ward *other = m->first.ward;
	struct group *g = other->group;

	if (!is_worth_mapping(l->budget, m->n, is_read(other, m->first.page))) {
		send_others(m);
		return;
	}
	pthread_mutex_lock(&g->lock);
	for (unsigned int i = 0; i < m->n; i++) {
		bool looked_at = kind_has_hash(record_kind(other->record[m->first.page + i]));

		l->others[i] = looked_at ? plan_show(g, slot + i) : (struct plan){.act = ACT_NONE};
		if (looked_at)
			pool_need(g->pool, slot + i);
	}
	pthread_mutex_unlock(&g->lock);
	exchange(other, m->first.page, m->n, l->others);
}

/* Plans for pages [first, first + m->n) of the look. */
static void plan_match(struct look *l, struct ward *w, uint64_t page, unsigned int first, const struct match *m)
{
	uint32_t slot = m->first.slot;

	if (!is_worth_mapping(l->budget, m->n, is_read(w, page + first))) {
		leave(l, w, page, first, m);
		return;
	}
	if (m->first.kind == EQUAL_PAGE)
		slot = equal_share(w, mem_page_hva(&w->vm->mem, page + first), m->n, &l->hash[first]);
	if (slot == POOL_NONE) {
		leave(l, w, page, first, m);
		return;
	}
	for (unsigned int i = 0; i < m->n; i++)
		l->plan[first + i] = plan_show(w->group, slot + i);
	if (m->first.kind == EQUAL_PAGE)
		show_others(l, m, slot);
}

/*
 * Under the lock: where the page is, if it is due. It may have been written, or brought back, since it was queued; once it is due nobody
 * but this thread makes something else of it.
 */
static const void *find_due(const struct ward *w, uint64_t page)
{
	bool due = record_kind(w->record[page]) == PAGE_UNKNOWN && age_epochs(w->age[page]) > 0;

	return due ? mem_page_hva(&w->vm->mem, page) : NULL;
}

static void take(struct look *l, struct ward *w, uint64_t page, unsigned int n)
{
	uint64_t absent = userfault_absent_bits(&w->vm->userfault, mem_page_gpa(&w->vm->mem, page), n);

	pthread_mutex_lock(&w->group->lock);
	for (unsigned int i = 0; i < n; i++)
		l->at[i] = absent >> i & 1 ? NULL : find_due(w, page + i);
	pthread_mutex_unlock(&w->group->lock);
}

/* Returns what page i is equal to, or has a plan for it that needs no other. */
static struct equal look_at(struct look *l, struct ward *w, uint64_t page, unsigned int i)
{
	struct equal none = {.kind = EQUAL_NONE};
	const void *bytes = l->at[i];

	l->plan[i] = (struct plan){.act = ACT_NONE};
	if (!bytes)
		return none;
	if (equal_is_zero(bytes)) {
		l->plan[i] = (struct plan){ACT_ZERO, record_make(PAGE_ZERO, 0, 0), NULL};
		return none;
	}
	if (l->last < SCAVENGE_SAME) {
		note_own(w, page + i);
		return none;
	}
	l->hash[i] = equal_hash(bytes);
	return equal_find_or_note(w, page + i, bytes, l->hash[i]);
}

void look_at_idle(struct look *l, struct ward *w, uint64_t page, unsigned int n)
{
	struct match m = {.n = 0};

	take(l, w, page, n);
	for (unsigned int i = 0; i < n; i++) {
		struct equal e = look_at(l, w, page, i);

		if (m.n && e.kind != EQUAL_NONE && follows(&m, &e)) {
			m.n++;
			continue;
		}
		if (m.n)
			plan_match(l, w, page, i - m.n, &m);
		m = (struct match){e, e.kind != EQUAL_NONE};
	}
	if (m.n)
		plan_match(l, w, page, n - m.n, &m);
	exchange(w, page, n, l->plan);
	w->counts.scanned += n;
}
