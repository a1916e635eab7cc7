#include "shadow/table_entry.h"

#include <string.h>

#include "shadow/rmap.h"
#include "shadow/table_accessed.h"
#include "vmm/ensure.h"

static uint64_t *entry_at(const struct tables *t, uint32_t page, unsigned int index)
{
	return (uint64_t *)(t->pool.hva + ((size_t)page << 12)) + index;
}

/* What the entry holds in memory. The monitor writes it too, while the guest runs. */
static uint64_t entry_now(const struct tables *t, uint32_t page, unsigned int index)
{
	return __atomic_load_n(entry_at(t, page, index), __ATOMIC_RELAXED);
}

static uint64_t entry_gpa(const struct tables *t, uint32_t page, unsigned int index)
{
	return shadow_page_gpa(t, page) + index * sizeof(uint64_t);
}

static bool spte_pending(const struct tables *t, uint32_t page, unsigned int index)
{
	return t->page[page].pending[index / 64] >> index % 64 & 1;
}

static void set_pending(struct tables *t, uint64_t gpa, bool on)
{
	uint64_t offset = (gpa - t->pool.gpa) / sizeof(uint64_t);
	uint64_t *word = &t->page[offset / TABLE_ENTRIES].pending[offset % TABLE_ENTRIES / 64];

	*word = (*word & ~(1ull << offset % 64)) | (uint64_t)on << offset % 64;
}

/* Index of the last edit of the entry, of which there is one. */
static size_t last_edit(const struct tables *t, uint64_t gpa)
{
	size_t i = t->edits;

	while (i && t->edit[i - 1].gpa != gpa)
		i--;
	ensure(i);
	return i - 1;
}

/* With whatever A is in there. */
static uint64_t entry_to_be(const struct tables *t, uint32_t page, unsigned int index)
{
	if (spte_pending(t, page, index))
		return t->edit[last_edit(t, entry_gpa(t, page, index))].value;
	return entry_now(t, page, index);
}

uint64_t spte_get(const struct tables *t, uint32_t page, unsigned int index)
{
	uint64_t spte = entry_to_be(t, page, index);

	return spte & PTE_P ? spte | PTE_A : spte;
}

/* Edits that the monitor may be carrying out stay what they are. */
static bool edit(struct tables *t, uint64_t gpa, uint64_t value, bool pending)
{
	size_t i = pending ? last_edit(t, gpa) : t->edits;

	if (!pending || i < t->edits_handed)
		i = t->edits;
	if (i == TABLES_MAX_EDITS) {
		tables_out_of_room(t);
		return false;
	}
	t->edits += i == t->edits;
	t->edit[i] = (struct tables_edit){.gpa = gpa, .value = value};
	set_pending(t, gpa, true);
	return true;
}

static bool wider(uint64_t from, uint64_t to)
{
	uint64_t rights = PTE_W | PTE_NX;

	if ((from ^ to) & ~rights)
		return false;
	return (to & PTE_W) >= (from & PTE_W) && (to & PTE_NX) <= (from & PTE_NX);
}

/*
 * Only entries for 4 KiB are widened from outside: a host that keeps shadows of its own may have noted the old rights
 * of the others for all that is below them.
 */
static bool may_write_from_outside(const struct shadow_page *p, uint64_t old, uint64_t spte)
{
	if (!(old & PTE_P))
		return true;
	return (spte & PTE_P) && spte_kind(p->key.level, old) == SPTE_SMALL && wider(old, spte);
}

static bool write_entry(struct tables *t, uint32_t page, unsigned int index, uint64_t old, uint64_t spte)
{
	bool pending = spte_pending(t, page, index);
	uint64_t fresh = accessed_fresh(t, page, spte);

	accessed_note(t, page, index);
	if (pending || !may_write_from_outside(&t->page[page], old, spte))
		return edit(t, entry_gpa(t, page, index), fresh, pending);
	__atomic_store_n(entry_at(t, page, index), fresh, __ATOMIC_RELAXED);
	return true;
}

static void give_up(struct tables *t, uint32_t page);

static void unlink_entry(struct tables *t, uint32_t page, unsigned int index, uint64_t spte)
{
	struct shadow_page *p = &t->page[page];
	spte_id *list = rmap_list(t, p->key.level, spte);

	rmap_remove(t, list, spte_id_of(page, index));
	p->present--;
	if (spte_kind(p->key.level, spte) == SPTE_PAGE && !*list)
		give_up(t, spte_child(t, spte));
}

static void link_entry(struct tables *t, uint32_t page, unsigned int index, uint64_t spte)
{
	struct shadow_page *p = &t->page[page];

	rmap_add(t, rmap_list(t, p->key.level, spte), spte_id_of(page, index));
	p->present++;
}

static bool same_target(uint64_t a, uint64_t b)
{
	return (a & PTE_P) && (b & PTE_P) && !((a ^ b) & (PTE_ADDR | PTE_PS));
}

void spte_set(struct tables *t, uint32_t page, unsigned int index, uint64_t spte)
{
	uint64_t old;

	if (t->must_recycle)
		return;
	old = spte_get(t, page, index);
	if (old == spte || !write_entry(t, page, index, old, spte) || same_target(old, spte))
		return;
	/* A page given up here cannot take the new one along: that is of the same level, or maps. */
	if (old & PTE_P)
		unlink_entry(t, page, index, old);
	if (spte & PTE_P)
		link_entry(t, page, index, spte);
}

static void drop_root(struct tables *t, uint32_t page)
{
	for (unsigned int i = 0; i < t->roots; i++) {
		if (t->root[i] == page)
			t->root[i] = t->root[--t->roots];
	}
}

/*
 * Nothing leads to the page: its own entries may stay as they are, but they no longer count. Depth: pages lead to
 * pages of lower levels only.
 */
static void give_up(struct tables *t, uint32_t page)
{
	struct shadow_page *p = &t->page[page];

	for (unsigned int i = 0; p->present; i++) {
		uint64_t spte;

		ensure(i < TABLE_ENTRIES);
		if (p->key.level == WALK_LEVELS && i == MONITOR_SLOT)
			continue;
		accessed_note(t, page, i);
		spte = spte_get(t, page, i);
		if (spte & PTE_P)
			unlink_entry(t, page, i, spte);
	}
	if (p->key.level == WALK_LEVELS)
		drop_root(t, page);
	shadow_page_give_up(t, page);
}

void shadow_page_drop(struct tables *t, uint32_t page)
{
	struct shadow_page *p = &t->page[page];

	if (p->key.level == WALK_LEVELS && !t->must_recycle) {
		give_up(t, page);
		return;
	}
	while (p->parents && !t->must_recycle)
		spte_set(t, spte_page(p->parents), spte_index(p->parents), 0);
}

void write_protect(struct tables *t, uint64_t gfn)
{
	uint64_t frame = frame_number(t, gfn);
	spte_id *large, id;

	if (frame == UINT64_MAX || t->must_recycle)
		return;
	for (id = t->small_maps[frame]; id; id = t->link[id - 1].next) {
		uint64_t spte = spte_get(t, spte_page(id), spte_index(id));

		spte_set(t, spte_page(id), spte_index(id), spte & ~PTE_W);
	}
	large = &t->large_maps[frame / LARGE_FRAMES];
	while (*large && !t->must_recycle)
		spte_set(t, spte_page(*large), spte_index(*large), 0);
}

/* Later edits of the same entry decide what it holds; those that were not handed out stay. */
void edits_done(struct tables *t)
{
	size_t handed = t->edits_handed, left = t->edits - handed;

	for (size_t i = t->edits; i--;) {
		uint64_t offset = (t->edit[i].gpa - t->pool.gpa) / sizeof(uint64_t);
		uint32_t page = (uint32_t)(offset / TABLE_ENTRIES);
		unsigned int index = offset % TABLE_ENTRIES;

		if (i < handed && spte_pending(t, page, index))
			ensure(!((entry_now(t, page, index) ^ t->edit[i].value) & ~PTE_A));
		/* An edit that waits may take away what the guest has used since the one before. */
		accessed_note(t, page, index);
		set_pending(t, t->edit[i].gpa, false);
	}
	memmove(t->edit, t->edit + handed, left * sizeof(*t->edit));
	t->edits = left;
	t->edits_handed = 0;
	for (size_t i = 0; i < left; i++)
		set_pending(t, t->edit[i].gpa, true);
}
