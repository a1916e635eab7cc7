#include "shadow/table_guard.h"

#include <string.h>

#include "shadow/rmap.h"
#include "shadow/table_entry.h"
#include "vmm/ensure.h"
#include "vmm/mmu.h"

static unsigned int find(const struct tables *t, uint64_t gfn)
{
	unsigned int i = 0;

	while (i < t->guards && t->guard[i].gfn != gfn)
		i++;
	return i;
}

uint64_t guard_rights(const struct tables *t, uint64_t gfn, uint64_t rights)
{
	const struct tables_guard *g = &t->guard[find(t, gfn)];

	if (g == &t->guard[t->guards] || g->open)
		return rights;
	if (g->denies & GUARD_ALL)
		return 0;
	if (g->denies & GUARD_WRITE)
		rights &= ~PTE_W;
	return g->denies & GUARD_EXEC ? rights | PTE_NX : rights;
}

bool guard_in_large(const struct tables *t, uint64_t gpa)
{
	for (unsigned int i = 0; i < t->guards; i++) {
		if (t->guard[i].gfn / LARGE_FRAMES == gpa / LARGE_PAGE)
			return true;
	}
	return false;
}

static bool stands_against(const struct tables_guard *g, unsigned int access)
{
	return (g->denies & GUARD_ALL) || ((g->denies & GUARD_WRITE) && (access & MMU_WRITE)) ||
	       ((g->denies & GUARD_EXEC) && (access & MMU_EXEC));
}

bool guard_open(struct tables *t, uint64_t gfn, unsigned int access)
{
	struct tables_guard *g = &t->guard[find(t, gfn)];

	if (g == &t->guard[t->guards] || !stands_against(g, access))
		return false;
	g->open = true;
	return true;
}

bool tables_guards_open(const struct tables *t)
{
	for (unsigned int i = 0; i < t->guards; i++) {
		if (t->guard[i].open)
			return true;
	}
	return false;
}

/* Nothing maps the frame any more: whoever wants it comes here for it. */
static void unmap(struct tables *t, uint64_t gfn)
{
	uint64_t frame = frame_number(t, gfn);
	spte_id *small = &t->small_maps[frame], *large = &t->large_maps[frame / LARGE_FRAMES];

	while (*small && !t->must_recycle)
		spte_set(t, spte_page(*small), spte_index(*small), 0);
	while (*large && !t->must_recycle)
		spte_set(t, spte_page(*large), spte_index(*large), 0);
}

/* Entries that have been made meanwhile may have more rights than the guard allows. */
static void close_guard(struct tables *t, struct tables_guard *g)
{
	g->open = false;
	unmap(t, g->gfn);
}

void tables_close_guards(struct tables *t)
{
	for (unsigned int i = 0; i < t->guards; i++) {
		if (t->guard[i].open)
			close_guard(t, &t->guard[i]);
	}
}

void tables_guard(struct tables *t, const struct tables_guard *g, unsigned int count)
{
	ensure(count <= TABLES_MAX_GUARDS);
	for (unsigned int i = 0; i < t->guards; i++)
		unmap(t, t->guard[i].gfn);
	for (unsigned int i = 0; i < count; i++)
		unmap(t, g[i].gfn);
	if (count)
		memcpy(t->guard, g, count * sizeof(*g));
	t->guards = count;
}
