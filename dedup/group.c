#include "dedup/group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dedup/ward.h"
#include "vmm/log.h"
#include "vmm/scavenging.h"

#define MOST_SLOTS (1ull << (RECORD_SLOT_BITS - 1))
#define FIRST_BASE 1u		 /* 0 is no id */

/* Both reserve addresses for as much as there may be. More than the host has memory cannot be kept. */
static bool create_stores(struct group *g)
{
	uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);

	g->pool = pool_create(pages < MOST_SLOTS ? pages : MOST_SLOTS);
	g->store = g->pool ? store_create(pages * PAGE_SIZE) : NULL;
	return g->store;
}

static struct group *group_create(const char *name)
{
	struct group *g = calloc(1, sizeof(*g));

	if (!g) {
		log_errno(ENOMEM, "scavenger");
		return NULL;
	}
	snprintf(g->name, sizeof(g->name), "%s", name);
	pthread_mutex_init(&g->lock, NULL);
	g->next_base = FIRST_BASE;
	if (create_stores(g))
		return g;
	group_destroy(g);
	return NULL;
}

static void drop_indexes(struct group *g)
{
	if (g->same)
		same_index_destroy(g->same);
	if (g->similar)
		similar_destroy(g->similar);
	g->same = NULL;
	g->similar = NULL;
	g->indexed = 0;
}

void group_destroy(struct group *g)
{
	drop_indexes(g);
	if (g->store)
		store_destroy(g->store);
	if (g->pool)
		pool_destroy(g->pool);
	pthread_mutex_destroy(&g->lock);
	free(g->ward);
	free(g);
}

struct group *group_for(struct group **groups, const struct scavenge_options *o, unsigned int number)
{
	char name[GROUP_NAME_BYTES] = "default";
	struct group *g;

	if (o->each)
		snprintf(name, sizeof(name), "guest %u", number);
	else if (o->group_count)
		snprintf(name, sizeof(name), "%s", o->group[number % o->group_count]);
	for (g = *groups; g; g = g->next)
		if (!strcmp(g->name, name))
			return g;
	g = group_create(name);
	if (g) {
		g->next = *groups;
		*groups = g;
	}
	return g;
}

static int make_room(struct group *g)
{
	unsigned int room = g->room ? 2 * g->room : 4;
	struct ward **more;

	if (g->wards < g->room)
		return 0;
	more = realloc(g->ward, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	g->ward = more;
	g->room = room;
	return 0;
}

int group_add(struct group *g, struct ward *w)
{
	int r = w->pages < ID_IS_SLOT - g->next_base ? 0 : -ENOSPC;

	pthread_mutex_lock(&g->lock);
	if (r == 0)
		r = make_room(g);
	if (r == 0) {
		w->base = g->next_base;
		g->next_base += (uint32_t)w->pages;
		g->pages += w->pages;
		g->ward[g->wards++] = w;
	}
	pthread_mutex_unlock(&g->lock);
	return r < 0 ? log_errno(-r, "scavenger: group %s", g->name) : 0;
}

struct ward *group_page(const struct group *g, uint32_t id, uint64_t *page)
{
	unsigned int low = 0, high = g->wards;

	if (!id || id & ID_IS_SLOT)
		return NULL;
	while (high - low > 1) {
		unsigned int mid = (low + high) / 2;

		if (id < g->ward[mid]->base)
			high = mid;
		else
			low = mid;
	}
	*page = id - g->ward[low]->base;
	return g->ward[low];
}

/* Under the lock, as all that looks into the index. */
static bool hash_of(void *arg, uint32_t id, uint32_t *hash)
{
	const struct group *g = arg;
	uint64_t page;
	const struct ward *w = group_page(g, id, &page);

	if (!w) {
		*hash = pool_count(g->pool, id & ~ID_IS_SLOT) ? pool_hash(g->pool, id & ~ID_IS_SLOT) : 0;
		return pool_count(g->pool, id & ~ID_IS_SLOT);
	}
	*hash = record_hash(w->record[page]);
	return kind_has_hash(record_kind(w->record[page])) && !w->gone;
}

static void index_again(struct group *g)
{
	struct pool_stats s;

	for (unsigned int i = 0; i < g->wards; i++)
		ward_index_again(g->ward[i]);
	pool_stats(g->pool, &s);
	for (uint32_t slot = 0, found = 0; found < s.slots; slot++)
		if (pool_count(g->pool, slot)) {
			found++;
			same_index_add(g->same, pool_hash(g->pool, slot), slot | ID_IS_SLOT);
		}
}

int group_index(struct group *g)
{
	int r = 0;

	if (g->indexed >= g->pages)
		return 0;
	pthread_mutex_lock(&g->lock);
	drop_indexes(g);
	g->same = same_index_create(g->pages, hash_of, g);
	g->similar = g->same ? similar_create(g->pages) : NULL;
	if (g->similar) {
		g->indexed = g->pages;
		index_again(g);
	} else {
		drop_indexes(g);
		r = -ENOMEM;
	}
	pthread_mutex_unlock(&g->lock);
	return r;
}

void group_release_slot(struct group *g, uint32_t slot)
{
	pthread_mutex_lock(&g->lock);
	pool_release(g->pool, slot);
	pthread_mutex_unlock(&g->lock);
}

uint64_t group_metadata(const struct group *g)
{
	struct pool_stats pool;
	struct store_stats store;

	pool_stats(g->pool, &pool);
	store_stats(g->store, &store);
	return pool.metadata + store.metadata + (g->same ? same_index_bytes(g->same) + similar_bytes(g->similar) : 0);
}
