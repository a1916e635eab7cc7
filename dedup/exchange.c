#include "dedup/exchange.h"

#include <errno.h>
#include <string.h>

#include "dedup/equal.h"
#include "dedup/ward.h"
#include "vmm/userfault_exchange.h"
#include "vmm/vm.h"

/* Pages that are exchanged together. */
struct run {
	struct ward *ward;
	uint64_t page;
	unsigned int n;
	const struct plan *plan;
};

static struct run part(const struct run *r, unsigned int first, unsigned int n)
{
	return (struct run){r->ward, r->page + first, n, r->plan + first};
}

static void abandon(const struct run *r)
{
	pthread_mutex_lock(&r->ward->group->lock);
	for (unsigned int i = 0; i < r->n; i++)
		ward_abandon(r->ward, r->plan[i].record);
	pthread_mutex_unlock(&r->ward->group->lock);
}

static void note(const struct run *r)
{
	struct ward *w = r->ward;

	pthread_mutex_lock(&w->group->lock);
	for (unsigned int i = 0; i < r->n; i++)
		ward_set(w, r->page + i, r->plan[i].record);
	if (r->plan->act == ACT_EVICT)
		w->counts.evicted += r->n;
	w->counts.mappings += r->plan->act == ACT_SHOW;
	pthread_mutex_unlock(&w->group->lock);
}

/* They were not dropped after all: a guard wants them, or somebody wrote one at the last moment. What their records needed goes. */
static void take_back(const struct run *r)
{
	struct ward *w = r->ward;

	pthread_mutex_lock(&w->group->lock);
	for (unsigned int i = 0; i < r->n; i++)
		ward_set(w, r->page + i, record_make(PAGE_UNKNOWN, 0, 0));
	w->counts.evicted -= r->n;
	pthread_mutex_unlock(&w->group->lock);
}

/* Held pages that are as they were looked at; `first` is the run's first in the hold. */
static void exchange_held(const struct run *r, struct userfault_hold *h, unsigned int first)
{
	struct userfault *u = &r->ward->vm->userfault;
	int error = 0;

	switch (r->plan->act) {
	case ACT_ZERO:
		error = userfault_show_zero(u, h, first, r->n);
		break;
	case ACT_SHOW:
		error = userfault_show(u, h, first, r->n, pool_fd(r->ward->group->pool),
				       record_slot(r->plan->record) * PAGE_SIZE);
		break;
	case ACT_EVICT:
		note(r);
		if (userfault_evict(u, h, first, r->n) < 0)
			take_back(r);
		return;
	default:
		break;
	}
	if (error < 0)
		abandon(r);
	else
		note(r);
}

static bool is_same(const struct run *r, unsigned int i)
{
	const void *page = mem_page_hva(&r->ward->vm->mem, r->page + i), *like = r->plan[i].like;

	return like ? !memcmp(page, like, PAGE_SIZE) : equal_is_zero(page);
}

static void exchange_same(const struct run *r, struct userfault_hold *h)
{
	for (unsigned int first = 0, n; first < r->n; first += n) {
		bool same = is_same(r, first);
		struct run p;

		for (n = 1; first + n < r->n && is_same(r, first + n) == same;)
			n++;
		p = part(r, first, n);
		if (same)
			exchange_held(&p, h, first);
		else
			abandon(&p);
	}
}

/* One page that is pinned, or that somebody works on, need not hinder the others. */
static void exchange_run(const struct run *r)
{
	struct ward *w = r->ward;
	struct userfault_hold h;
	int error = userfault_hold(&w->vm->userfault, &h, mem_page_gpa(&w->vm->mem, r->page), r->n);

	if (error == 0) {
		exchange_same(r, &h);
		userfault_let_go(&w->vm->userfault, &h);
		return;
	}
	if (error == -EBUSY && r->n > 1) {
		struct run low = part(r, 0, r->n / 2), high = part(r, r->n / 2, r->n - r->n / 2);

		exchange_run(&low);
		exchange_run(&high);
		return;
	}
	w->counts.busy++;
	abandon(r);
}

static bool goes_on(const struct plan *p)
{
	return p[1].act == p[0].act && (p->act != ACT_SHOW || record_slot(p[1].record) == record_slot(p[0].record) + 1);
}

void exchange(struct ward *w, uint64_t page, unsigned int n, const struct plan *plan)
{
	const struct run all = {w, page, n, plan};

	for (unsigned int first = 0, count; first < n; first += count) {
		struct run r;

		for (count = 1; first + count < n && goes_on(&plan[first + count - 1]);)
			count++;
		r = part(&all, first, count);
		if (plan[first].act != ACT_NONE)
			exchange_run(&r);
	}
}
