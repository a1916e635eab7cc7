#include "shadow/table_guard.h"

#include <string.h>

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

/* Entries that have been made meanwhile may have more rights than the guard allows. */
static void close_guard(struct tables *t, struct tables_guard *g)
{
	spte_id *head = &t->small_maps[frame_number(t, g->gfn)];

	g->open = false;
	while (*head && !t->must_recycle)
		spte_set(t, (*head - 1) / TABLE_ENTRIES, (*head - 1) % TABLE_ENTRIES, 0);
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
	size_t size = count * sizeof(*g);

	ensure(count <= TABLES_MAX_GUARDS);
	if (count == t->guards && !memcmp(t->guard, g, size))
		return;
	memcpy(t->guard, g, size);
	t->guards = count;
	tables_drop_all(t);
}
