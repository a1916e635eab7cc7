#include "dedup/memory_bound.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "dedup/host_room.h"
#include "dedup/ward.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define MIB ((uint64_t)1 << 20)
#define RESERVE_SHARE 8u	    /* of the limit: what guests may write until the next look, and what the program needs itself */
#define MOST_RESERVE (256ull << 20)

void memory_bound_init(struct memory_bound *b, uint64_t most)
{
	*b = (struct memory_bound){.most = most, .limit = most ? most : UINT64_MAX};
}

/* Memory of its own that this process has: guests' pages that are not shared, and everything else (proc(5), statm). */
static uint64_t private_bytes(void)
{
	unsigned long long all = 0, resident = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu %llu", &all, &resident, &shared) != 3)
		resident = shared = 0;
	fclose(f);
	return resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t shared_bytes(struct group *g)
{
	struct pool_stats s;

	pthread_mutex_lock(&g->lock);
	pool_stats(g->pool, &s);
	pthread_mutex_unlock(&g->lock);
	return s.slots * PAGE_SIZE;
}

static void measure(struct memory_bound *b, struct group *groups)
{
	uint64_t left;

	b->used = private_bytes();
	for (struct group *g = groups; g; g = g->next)
		b->used += shared_bytes(g);
	if (b->most)
		return;
	left = host_room("");
	b->limit = left == UINT64_MAX ? left : b->used + left;
}

static uint64_t reserve(const struct memory_bound *b)
{
	uint64_t bytes = b->limit / RESERVE_SHARE;

	return bytes < MOST_RESERVE ? bytes : MOST_RESERVE;
}

static bool is_within(const struct memory_bound *b, uint64_t reserves)
{
	return b->limit == UINT64_MAX || b->used + reserves * reserve(b) <= b->limit;
}

bool memory_bound_is_near(const struct memory_bound *b)
{
	return !is_within(b, 3);
}

int memory_bound_admit(struct memory_bound *b, struct group *groups, const struct vm *vm)
{
	measure(b, groups);
	if (b->limit == UINT64_MAX || b->used + vm->mem.size <= b->limit)
		return 0;
	return log_bad(ENOMEM, "guest %u: its RAM of %" PRIu64 " MiB might not be kept: guests use %" PRIu64 " of %" PRIu64
		       " MiB; start it with a smaller --mem, start fewer, or say --scavenge=memory=SIZE", vm->number, vm->mem.size / MIB,
		       b->used / MIB, b->limit / MIB);
}

static void on_stop(struct vcpu_work *work, struct vm *vm)
{
	struct ward *w = (struct ward *)((char *)work - offsetof(struct ward, stop_work));

	if (atomic_load(&w->hold_still) && !vm->paused) {
		w->held_still = true;
		vm_pause(vm, true);
	} else if (!atomic_load(&w->hold_still) && w->held_still) {
		w->held_still = false;
		vm_pause(vm, false);
	}
	atomic_store(&w->stop_posted, false);
}

/* A ward that is told while it has not taken what it was told before will see what holds by then. */
static void tell(struct ward *w, bool still)
{
	atomic_store(&w->hold_still, still);
	if (w->state == WARD_ENDED || atomic_exchange(&w->stop_posted, true))
		return;
	w->stop_work.run = on_stop;
	if (!vcpu_post(&w->vm->vcpu, &w->stop_work))
		w->state = WARD_ENDED;
}

static void tell_all(const struct group *groups, bool still)
{
	for (const struct group *g = groups; g; g = g->next)
		for (unsigned int i = 0; i < g->wards; i++)
			if (!g->ward[i]->gone)
				tell(g->ward[i], still);
}

void memory_bound_look(struct memory_bound *b, struct group *groups)
{
	measure(b, groups);
	if (!b->stopped && !is_within(b, 1)) {
		log_print(LOG_ERROR, "memory: guests use %" PRIu64 " of %" PRIu64 " MiB, and stand still until there is room: more of their "
			  "pages may go cold, other programs may end; --scavenge=memory=SIZE allows more, `penumbra ctl SOCKET quit` ends them",
			  b->used / MIB, b->limit / MIB);
		b->stopped = true;
		tell_all(groups, true);
	} else if (b->stopped && is_within(b, 2)) {
		log_print(LOG_WARN, "memory: there is room again; the guests go on");
		b->stopped = false;
		tell_all(groups, false);
	}
}
