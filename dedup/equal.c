#include "dedup/equal.h"

#include <string.h>
#include <xxhash.h>

#include "dedup/hash_avx2.h"
#include "dedup/ward.h"
#include "vmm/vm.h"

uint32_t equal_hash(const void *page)
{
	return (uint32_t)(__builtin_cpu_supports("avx2") ? hash_avx2(page) : XXH3_64bits(page, PAGE_SIZE));
}

bool equal_is_zero(const void *page)
{
	const uint64_t *word = page;

	/* Most pages that are not zero differ at once, and a page is equal to itself moved by a word only if all words are the same. */
	return !word[0] && !memcmp(word, word + 1, PAGE_SIZE - sizeof(*word));
}

/* Under the lock. A page that is brought back meanwhile has the same bytes; nobody but this thread drops one. */
static struct equal candidate(struct ward *w, uint64_t page, uint32_t id)
{
	struct group *g = w->group;
	struct equal e = {.kind = EQUAL_NONE};

	if (!id || id == ward_id(w, page))
		return e;
	if (id & ID_IS_SLOT) {
		e.kind = EQUAL_SLOT;
		e.slot = id & ~ID_IS_SLOT;
		pool_need(g->pool, e.slot);
		return e;
	}
	e.ward = group_page(g, id, &e.page);
	e.kind = e.ward->state == WARD_OPEN ? EQUAL_PAGE : EQUAL_NONE;
	return e;
}

static bool is_equal(const struct equal *e, const struct group *g, const void *bytes)
{
	struct vm *vm;

	if (e->kind == EQUAL_SLOT)
		return !memcmp(bytes, pool_page(g->pool, e->slot), PAGE_SIZE);
	vm = e->ward->vm;
	return !userfault_is_absent(&vm->userfault, mem_page_gpa(&vm->mem, e->page)) &&
	       !memcmp(bytes, mem_page_hva(&vm->mem, e->page), PAGE_SIZE);
}

/* The candidate, if it is. */
static struct equal verify(struct equal e, struct group *g, const void *bytes)
{
	if (e.kind == EQUAL_NONE || is_equal(&e, g, bytes))
		return e;
	if (e.kind == EQUAL_SLOT)
		group_release_slot(g, e.slot);
	return (struct equal){.kind = EQUAL_NONE};
}

struct equal equal_find(struct ward *w, uint64_t page, const void *bytes, uint32_t hash)
{
	struct group *g = w->group;
	struct equal e;

	pthread_mutex_lock(&g->lock);
	e = candidate(w, page, g->same ? same_index_find(g->same, hash) : 0);
	pthread_mutex_unlock(&g->lock);
	return verify(e, g, bytes);
}

struct equal equal_find_or_note(struct ward *w, uint64_t page, const void *bytes, uint32_t hash)
{
	const page_record unique = record_make(PAGE_UNIQUE, 0, hash);
	struct group *g = w->group;
	struct equal e, found;

	pthread_mutex_lock(&g->lock);
	e = candidate(w, page, g->same ? same_index_find_or_add(g->same, hash, ward_id(w, page)) : 0);
	if (e.kind == EQUAL_NONE)
		ward_set(w, page, unique);
	pthread_mutex_unlock(&g->lock);
	found = verify(e, g, bytes);
	if (found.kind != e.kind) {
		pthread_mutex_lock(&g->lock);
		ward_set(w, page, unique);
		pthread_mutex_unlock(&g->lock);
	}
	return found;
}

uint32_t equal_share(struct ward *w, const void *pages, unsigned int n, const uint32_t *hash)
{
	struct group *g = w->group;
	uint32_t slot;

	pthread_mutex_lock(&g->lock);
	slot = pool_add(g->pool, pages, n, hash);
	for (unsigned int i = 0; slot != POOL_NONE && g->same && i < n; i++)
		same_index_add(g->same, hash[i], (slot + i) | ID_IS_SLOT);
	pthread_mutex_unlock(&g->lock);
	return slot;
}
