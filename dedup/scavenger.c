#include "dedup/scavenger.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dedup/aside.h"
#include "dedup/codec.h"
#include "dedup/epoch.h"
#include "dedup/hint.h"
#include "dedup/look.h"
#include "dedup/map_budget.h"
#include "dedup/memory_bound.h"
#include "dedup/ward.h"
#include "dedup/ward_stats.h"
#include "vmm/log.h"
#include "vmm/vm.h"
#include "vmm/watchdog.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (256u << 10)
#define NS_PER_MS 1000000ull
#define NS_PER_SECOND 1000000000ull
#define IDLE_NS (20 * NS_PER_MS) /* between looks at what there is to do */
#define ASKED_NS NS_PER_MS /* the same, while a vCPU is to say what its guest has written */
#define LOOK_NS (10 * NS_PER_MS) /* between looks at the host, which cost as much as many pages do */
#define RECOUNT_NS (10 * NS_PER_SECOND) /* between counts of mappings, which take long where there are many */
#define BATCHES 8u /* of a ward, before it is another's turn */
#define GIVE_WAY_NS 100000ull
#define COMPACT 64u /* objects at a time */

/*
 * Locks, in this order: `work` is held while the thread has anything to do with wards, so who holds it knows that it does not; `lock`
 * is over what is said to the thread.
 */
struct scavenger {
	const struct scavenge_options *options;
	pthread_t thread;
	pthread_mutex_t work; /* of wards, groups */
	_Atomic unsigned int wanted; /* threads that wait for `work` */
	struct group *groups;
	struct ward *wards;
	struct memory_bound bound;
	struct map_budget budget;
	struct pace_cpu pace;
	struct look *look;
	uint64_t looked_ns; /* when the host was looked at last */
	uint64_t counted_ns; /* and when mappings were counted */

	pthread_mutex_t lock; /* of the following */
	pthread_cond_t said;
	bool on, stop;
};

/* A thread that takes a mutex again at once gets it before those that were waiting; so it is told of them. */
static void take_work(struct scavenger *s)
{
	atomic_fetch_add(&s->wanted, 1);
	pthread_mutex_lock(&s->work);
	atomic_fetch_sub(&s->wanted, 1);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* A few pages of a ward: the image's come first, then those that became idle last. Returns false if there is nothing to do. */
static bool work_on(struct scavenger *s, struct ward *w)
{
	uint64_t page;
	unsigned int n = hint_next_loaded(w, LOOK_PAGES, &page);

	if (n == 0)
		n = ward_next(w, &w->fresh, LOOK_PAGES, &page);
	if (n == 0)
		n = ward_next(w, &w->rest, LOOK_PAGES, &page);
	if (n) {
		look_at_idle(s->look, w, page, n);
		return true;
	}
	if (w->allowance == 0)
		return false;
	n = ward_next(w, &w->cold, LOOK_PAGES, &page);
	if (n) {
		look_at_cold(s->look, w, page, n);
		return true;
	}
	pace_cold_unused(&w->pace, (unsigned int)w->allowance);
	w->allowance = 0;
	return false;
}

static void begin_epochs(struct scavenger *s, struct ward *w, uint64_t now)
{
	epoch_ask(w, now, s->options->idle_ms * NS_PER_MS);
	epoch_take(w, now);
}

/* What may go cold now. When memory runs out more than what the guest would like. */
static void allow(struct scavenger *s, struct ward *w, uint64_t now)
{
	uint64_t refaults;

	pthread_mutex_lock(&w->group->lock);
	refaults = w->counts.refaults;
	pthread_mutex_unlock(&w->group->lock);
	w->allowance += pace_cold_allowance(&w->pace, now, refaults);
	if (w->allowance > w->pages || memory_bound_is_near(&s->bound))
		w->allowance = w->pages;
}

static bool turn_of(struct scavenger *s, struct ward *w)
{
	uint64_t before = thread_cpu_ns(), now = watchdog_now();
	bool busy = false;

	begin_epochs(s, w, now);
	if (w->state == WARD_OPEN) {
		allow(s, w, now);
		for (unsigned int i = 0; i < BATCHES && work_on(s, w); i++)
			busy = true;
	}
	w->cpu_ns += thread_cpu_ns() - before;
	return busy;
}

/* An epoch that was asked for still ends. */
static void stand_by(struct ward *w)
{
	epoch_take(w, watchdog_now());
	epoch_pause(w);
}

static void keep_in_order(struct group *g)
{
	if (group_index(g) < 0)
		return;
	pthread_mutex_lock(&g->lock);
	store_compact(g->store, COMPACT);
	pthread_mutex_unlock(&g->lock);
}

/* Not under the lock, for which a guest's fault may be waiting: it takes a microsecond or more for each page. */
static void give_back(struct group *g, bool busy)
{
	struct pool_waiting w;

	pthread_mutex_lock(&g->lock);
	pool_take_waiting(g->pool, busy ? POOL_WAITING / 2 : 0, &w);
	pthread_mutex_unlock(&g->lock);
	pool_give_back_taken(g->pool, &w);
}

static void look_at_host(struct scavenger *s)
{
	uint64_t now = watchdog_now();

	if (now - s->looked_ns < LOOK_NS)
		return;
	s->looked_ns = now;
	memory_bound_look(&s->bound, s->groups);
	if (2 * map_budget_left(&s->budget) < s->budget.most && now - s->counted_ns >= RECOUNT_NS) {
		s->counted_ns = now;
		map_budget_recount(&s->budget, "");
	}
	aside(s->wards);
}

/* Was anything done? And is an answer awaited of a vCPU, which comes as soon as its guest has been interrupted? */
struct round {
	bool busy, asked;
};

/* Each group and each ward once. Memory is watched also when it is off: what was shared before can be written all the same. */
static struct round go_round(struct scavenger *s, bool on)
{
	struct round round = {false, false};

	pthread_mutex_lock(&s->work);
	look_at_host(s);
	if (on) {
		for (struct group *g = s->groups; g; g = g->next)
			keep_in_order(g);
		for (struct ward *w = s->wards; w; w = w->next)
			round.busy |= turn_of(s, w);
		for (struct group *g = s->groups; g; g = g->next)
			give_back(g, round.busy);
	} else {
		for (struct ward *w = s->wards; w; w = w->next)
			stand_by(w);
	}
	for (const struct ward *w = s->wards; w; w = w->next)
		round.asked |= w->asked;
	pthread_mutex_unlock(&s->work);
	return round;
}

/* Under the lock. */
static void rest(struct scavenger *s, uint64_t ns)
{
	struct timespec when;
	uint64_t at = watchdog_now() + ns;

	when = (struct timespec){.tv_sec = (time_t)(at / NS_PER_SECOND), .tv_nsec = (long)(at % NS_PER_SECOND)};
	pthread_cond_timedwait(&s->said, &s->lock, &when);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t pause_after(struct scavenger *s, struct round round)
{
	uint64_t ns = pace_cpu_rest(&s->pace, watchdog_now(), thread_cpu_ns());

	if (ns < GIVE_WAY_NS && atomic_load(&s->wanted))
		ns = GIVE_WAY_NS;
	return round.busy ? ns : longer(ns, round.asked ? ASKED_NS : IDLE_NS);
}

static void *run(void *arg)
{
	struct scavenger *s = arg;

	pace_cpu_init(&s->pace, s->options->cpu_percent, watchdog_now(), thread_cpu_ns());
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		bool on = s->on;
		uint64_t ns;

		pthread_mutex_unlock(&s->lock);
		ns = pause_after(s, go_round(s, on));
		pthread_mutex_lock(&s->lock);
		if (ns && !s->stop)
			rest(s, ns);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void init_said(struct scavenger *s)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->said, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->work, NULL);
}

static void free_look(struct look *l)
{
	if (l && l->codec)
		codec_destroy(l->codec);
	free(l);
}

static int start(void **made, const struct scavenge_options *o)
{
	struct scavenger *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s)
		return log_errno(ENOMEM, "scavenger");
	*s = (struct scavenger){.options = o, .on = o->on};
	s->look = calloc(1, sizeof(*s->look));
	if (!s->look)
		goto free;
	s->look->codec = codec_create();
	if (!s->look->codec)
		goto free;
	r = map_budget_init(&s->budget, "");
	if (r < 0)
		goto free;
	memory_bound_init(&s->bound, o->memory);
	s->look->last = o->last;
	s->look->budget = &s->budget;
	init_said(s);
	r = worker_thread_start(&s->thread, STACK_BYTES, false, run, s);
	if (r < 0)
		goto free;
	*made = s;
	return 0;
free:
	free_look(s->look);
	free(s);
	return log_errno(-r, "scavenger");
}

static int add_ward(struct scavenger *s, struct vm *vm)
{
	struct group *g = group_for(&s->groups, s->options, vm->number);
	struct ward *w = g ? ward_create(vm, g, s->options->refaults) : NULL, **at = &s->wards;
	int r = w ? group_add(g, w) : -ENOMEM;

	if (r < 0) {
		if (w)
			ward_destroy(w);
		return r;
	}
	while (*at)
		at = &(*at)->next;
	*at = w;
	return 0;
}

static int add(void *arg, struct vm *vm)
{
	struct scavenger *s = arg;
	int r;

	take_work(s);
	r = memory_bound_admit(&s->bound, s->groups, vm);
	if (r == 0)
		r = add_ward(s, vm);
	pthread_mutex_unlock(&s->work);
	return r;
}

static int turn(void *arg, bool on)
{
	struct scavenger *s = arg;

	pthread_mutex_lock(&s->lock);
	s->on = on;
	pthread_cond_signal(&s->said);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static struct ward *find(struct scavenger *s, const struct vm *vm)
{
	struct ward *w = s->wards;

	while (w && w->vm != vm)
		w = w->next;
	return w;
}

static json_t *stats(void *arg, const struct vm *vm)
{
	struct scavenger *s = arg;
	const struct ward *w;
	json_t *o;
	bool on;

	pthread_mutex_lock(&s->lock);
	on = s->on;
	pthread_mutex_unlock(&s->lock);
	take_work(s);
	w = find(s, vm);
	o = w ? ward_stats(w, on) : NULL;
	pthread_mutex_unlock(&s->work);
	return o;
}

/* Its cold pages are where its pager finds them until the VM is gone, so all that is freed at the end. */
static void remove_vm(void *arg, struct vm *vm)
{
	struct scavenger *s = arg;
	struct ward *w;

	take_work(s);
	w = find(s, vm);
	if (w) {
		pthread_mutex_lock(&w->group->lock);
		w->gone = true;
		pthread_mutex_unlock(&w->group->lock);
		epoch_close(w);
	}
	pthread_mutex_unlock(&s->work);
}

static void free_all(struct scavenger *s)
{
	for (struct ward *w = s->wards, *next; w; w = next) {
		next = w->next;
		ward_destroy(w);
	}
	for (struct group *g = s->groups, *next; g; g = next) {
		next = g->next;
		group_destroy(g);
	}
	free_look(s->look);
	free(s);
}

static void stop(void *arg)
{
	struct scavenger *s = arg;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->said);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->said);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->work);
	free_all(s);
}

const struct scavenging scavenging = {
	.start = start, .add = add, .turn = turn, .stats = stats, .remove = remove_vm, .stop = stop,
};
