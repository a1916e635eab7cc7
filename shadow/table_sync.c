#include "shadow/table_sync.h"

#include "shadow/rmap.h"
#include "shadow/table_entry.h"
#include "shadow/table_fill.h"

/* Entries of a page that are edited one by one; if more have changed, a fresh page takes its place. */
#define MAX_EDITED 24u

bool sync_let_go(struct tables *t, uint64_t gfn)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gfn, pages);

	if (!count || t->unsyncs == MAX_UNSYNC)
		return false;
	for (unsigned int i = 0; i < count; i++) {
		if (t->page[pages[i]].key.level > 1)
			return false;
	}
	shadow_page_set_unsync(t, gfn, true);
	t->stats.unsynced++;
	return true;
}

static unsigned int changed_entries(const struct tables *t, uint32_t page)
{
	unsigned int changed = 0;

	for (unsigned int i = 0; t->page[page].present && i < TABLE_ENTRIES; i++)
		changed += fill_updated(t, page, i) != spte_get(t, page, i);
	return changed;
}

/*
 * A page nobody has seen yet can be filled from outside; one edit for each table that leads to the old one exchanges
 * them.
 */
static uint32_t replace(struct tables *t, uint32_t old)
{
	struct shadow_page *p = &t->page[old];
	uint32_t fresh = shadow_page_take(t, &p->key);

	if (fresh == NO_PAGE)
		return old;
	t->page[fresh].unsync = p->unsync;
	t->page[fresh].stores = p->stores;
	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		spte_set(t, fresh, i, fill_updated(t, old, i));
	while (p->parents && !t->must_recycle) {
		uint32_t parent = spte_page(p->parents);
		unsigned int index = spte_index(p->parents);
		uint64_t spte = spte_get(t, parent, index);

		spte_set(t, parent, index, (spte & ~PTE_ADDR) | shadow_page_gpa(t, fresh));
	}
	return fresh;
}

uint32_t sync_page(struct tables *t, uint32_t page)
{
	unsigned int changed;

	if (t->must_recycle)
		return page;
	changed = changed_entries(t, page);
	if (changed > MAX_EDITED || (changed > 1 && t->edits > TABLES_MAX_EDITS / 2))
		return replace(t, page);
	for (unsigned int i = 0; t->page[page].present && i < TABLE_ENTRIES; i++)
		spte_set(t, page, i, fill_updated(t, page, i));
	return page;
}

/* A page with nothing left in it may well be no table any more; if it is one, it is made again. */
static void sync_or_drop(struct tables *t, uint32_t page)
{
	page = sync_page(t, page);
	if (!t->page[page].present)
		shadow_page_drop(t, page);
}

void sync_table(struct tables *t, uint64_t gfn)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gfn, pages);

	if (!count || !t->page[pages[0]].unsync)
		return;
	/* It counts as protected from here on, so that no entry of its own keeps it writable. */
	shadow_page_set_unsync(t, gfn, false);
	write_protect(t, gfn);
	for (unsigned int i = 0; i < count; i++)
		sync_or_drop(t, pages[i]);
}

/* With more changes than edits are spent on, a table of tables is left to faults to make again. */
static void sync_upper(struct tables *t, uint32_t page)
{
	if (changed_entries(t, page) > MAX_EDITED) {
		shadow_page_drop(t, page);
		return;
	}
	for (unsigned int i = 0; t->page[page].present && i < TABLE_ENTRIES; i++)
		spte_set(t, page, i, fill_updated(t, page, i));
}

void sync_whole(struct tables *t, uint64_t gfn)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gfn, pages);

	for (unsigned int i = 0; i < count && !t->must_recycle; i++) {
		/* A table that leads to itself may have been given up by the page before. */
		if (!t->page[pages[i]].live)
			continue;
		if (t->page[pages[i]].key.level == 1)
			sync_or_drop(t, pages[i]);
		else
			sync_upper(t, pages[i]);
	}
}

void sync_all(struct tables *t)
{
	while (t->unsyncs && !t->must_recycle)
		sync_table(t, t->unsync[0]);
}

uint32_t sync_last_page(const struct tables *t, uint32_t root, uint64_t gva)
{
	uint32_t page = root;

	for (int level = WALK_LEVELS; level > 1; level--) {
		uint64_t spte = spte_get(t, page, table_index(gva, level));

		if (!(spte & PTE_P) || spte_kind(level, spte) != SPTE_PAGE)
			return NO_PAGE;
		page = spte_child(t, spte);
	}
	return page;
}

void sync_address(struct tables *t, uint64_t cr3, uint64_t gva)
{
	unsigned int index = table_index(gva, 1);

	if (table_index(gva, WALK_LEVELS) == MONITOR_SLOT)
		return;
	for (unsigned int i = 0; i < t->roots && !t->must_recycle; i++) {
		uint32_t page = NO_PAGE;

		if (t->page[t->root[i]].key.gfn == gfn_of(cr3))
			page = sync_last_page(t, t->root[i], gva);
		if (page != NO_PAGE && t->page[page].unsync)
			spte_set(t, page, index, fill_updated(t, page, index));
	}
}
