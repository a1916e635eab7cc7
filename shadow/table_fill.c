#include "shadow/table_fill.h"

#include "shadow/rmap.h"
#include "shadow/table_entry.h"
#include "shadow/table_guard.h"
#include "shadow/table_sync.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"

#define PREFETCH 32u /* entries looked at by a fault: the aligned group around the one that faulted */

/* The listeners of mem.h, through which the VMM's stores come back to us, are told of these as well. */
bool fill_mark(struct tables *t, struct walk *w, unsigned int access)
{
	bool marked;

	t->marking = true;
	marked = walk_mark(t->mem, w, access);
	t->marking = false;
	return marked;
}

static uint64_t gpte_of(const struct tables *t, const struct page_key *k, unsigned int index)
{
	uint64_t gpte;

	if (k->role & ROLE_DIRECT)
		return (k->gfn + index) << 12;
	if (mem_read(t->mem, (k->gfn << 12) + index * sizeof(gpte), &gpte, sizeof(gpte)) < 0)
		return 0;
	return gpte;
}

static bool is_ram(const struct tables *t, uint64_t gpa)
{
	return frame_number(t, gpa >> 12) != UINT64_MAX;
}

/* All 512 frames are RAM of one region, none is shadowed as a table, and nobody wants to know which of them are used. */
static bool may_map_large(const struct tables *t, uint64_t gpa)
{
	uint64_t frame = frame_number(t, gpa >> 12);

	return !t->accessed && !guard_in_large(t, gpa) && mem_at(t->mem, gpa, LARGE_PAGE, MEM_READ) && !t->tables_in_large[frame / LARGE_FRAMES];
}

static uint64_t small_spte(const struct tables *t, const struct page_key *k, uint64_t gpte)
{
	uint64_t target = gpte_target(1, gpte), rights = spte_rights(k, gpte);

	if (!rights || !is_ram(t, target))
		return 0;
	if (shadow_page_is_protected(t, target >> 12))
		rights &= ~PTE_W;
	rights = guard_rights(t, target >> 12, rights);
	return rights ? target | rights : 0;
}

/* A spte to page `child` for a gpte with those rights. */
static uint64_t page_spte(const struct tables *t, uint32_t child, uint64_t rights)
{
	return shadow_page_gpa(t, child) | (rights & ~PTE_D);
}

/* A guest table that also serves at a higher level cannot stay out of sync. */
static bool joins_unsync(struct tables *t, const struct page_key *k)
{
	if (!shadow_page_is_unsync(t, k->gfn))
		return false;
	if (k->level == 1)
		return true;
	sync_table(t, k->gfn);
	return false;
}

uint32_t fill_page(struct tables *t, const struct page_key *k)
{
	uint32_t n = shadow_page_find(t, k);
	bool direct = k->role & ROLE_DIRECT, unsync;

	if (n != NO_PAGE)
		return n;
	unsync = !direct && joins_unsync(t, k);
	if (!direct && !shadow_page_is_table(t, k->gfn))
		write_protect(t, k->gfn);
	n = shadow_page_take(t, k);
	if (n != NO_PAGE)
		t->page[n].unsync = unsync;
	return t->must_recycle ? NO_PAGE : n;
}

/*
 * A fault needs no more than its own entry, but most are followed by others close by. Entries whose A is clear are
 * left: filling them would hide the guest's access from the guest.
 * While somebody wants to know which pages are used, all is faulted in again and again, and what is filled and not used does
 * no harm: then it is the whole table.
 */
static void prefetch(struct tables *t, uint32_t page, unsigned int index)
{
	const struct page_key *k = &t->page[page].key;
	unsigned int count = t->accessed ? TABLE_ENTRIES : PREFETCH, first = index & ~(count - 1);

	for (unsigned int i = first; i < first + count; i++) {
		uint64_t spte;

		if (spte_get(t, page, i) & PTE_P)
			continue;
		spte = small_spte(t, k, gpte_of(t, k, i));
		if (!spte)
			continue;
		spte_set(t, page, i, spte);
		t->stats.prefetched++;
	}
}

static void fill_small(struct tables *t, uint32_t page, unsigned int index)
{
	const struct page_key *k = &t->page[page].key;

	t->stats.fills += !(spte_get(t, page, index) & PTE_P);
	spte_set(t, page, index, small_spte(t, k, gpte_of(t, k, index)));
	prefetch(t, page, index);
}

/* The page below, made and linked if need be. */
static uint32_t descend(struct tables *t, uint32_t page, unsigned int index, uint64_t gpte)
{
	const struct page_key *k = &t->page[page].key;
	struct page_key below = page_key_child(k, gpte);
	uint32_t child = fill_page(t, &below);

	if (child == NO_PAGE)
		return NO_PAGE;
	/*
	 * INVLPG may have passed by while there was no way from here to the child, so nothing old may come in this
	 * way.
	 */
	if (t->page[child].unsync && gfn_of(spte_get(t, page, index)) != shadow_page_gpa(t, child) >> 12)
		child = sync_page(t, child);
	spte_set(t, page, index, page_spte(t, child, spte_rights(k, gpte)));
	return t->must_recycle ? NO_PAGE : child;
}

static bool fill_large(struct tables *t, uint32_t page, unsigned int index, uint64_t gpte)
{
	uint64_t target = gpte_target(2, gpte), old = spte_get(t, page, index);

	if (!may_map_large(t, target))
		return false;
	t->stats.fills += !(old & PTE_P);
	spte_set(t, page, index, target | PTE_PS | spte_rights(&t->page[page].key, gpte));
	return true;
}

void fill_path(struct tables *t, uint32_t root, uint64_t gva, const struct walk *w)
{
	uint32_t page = root;

	for (int level = WALK_LEVELS; page != NO_PAGE && level > 1; level--) {
		unsigned int index = table_index(gva, level);

		t->page[page].stores = 0;
		if (level == 2 && w->level == 2 && fill_large(t, page, index, w->gpte[2]))
			return;
		page = descend(t, page, index, w->gpte[level]);
	}
	if (page == NO_PAGE)
		return;
	t->page[page].stores = 0;
	fill_small(t, page, table_index(gva, 1));
}

/* Where a present non-leaf entry leads must be where the gpte leads now; otherwise the next fault finds the way. */
static uint64_t updated_page_spte(const struct tables *t, const struct page_key *k, uint64_t old, uint64_t gpte)
{
	uint64_t rights = spte_rights(k, gpte);
	struct page_key below = page_key_child(k, gpte);

	if (!rights || shadow_page_find(t, &below) != spte_child(t, old))
		return 0;
	return page_spte(t, spte_child(t, old), rights);
}

static uint64_t updated_large_spte(const struct page_key *k, uint64_t old, uint64_t gpte)
{
	uint64_t rights = spte_rights(k, gpte);

	if (!rights || !gpte_is_leaf(2, gpte) || gpte_target(2, gpte) != gpte_target(2, old))
		return 0;
	return gpte_target(2, gpte) | PTE_PS | rights;
}

uint64_t fill_updated(const struct tables *t, uint32_t page, unsigned int index)
{
	const struct page_key *k = &t->page[page].key;
	uint64_t gpte = gpte_of(t, k, index), old = spte_get(t, page, index);

	if (!(old & PTE_P) || (k->level == WALK_LEVELS && index == MONITOR_SLOT))
		return old;
	switch (spte_kind(k->level, old)) {
	case SPTE_SMALL:
		return small_spte(t, k, gpte);
	case SPTE_LARGE:
		return updated_large_spte(k, old, gpte);
	default:
		return updated_page_spte(t, k, old, gpte);
	}
}
