#include "shadow/table_store.h"

#include "shadow/table_entry.h"
#include "shadow/table_fill.h"
#include "vmm/mem.h"

#define FLOOD 3u /* stores in a row, none of them followed by a use of the table, after which it is taken for data */

/* True if the store looks as if the guest page were no table (any longer). */
static bool odd(uint64_t gpa, uint64_t size)
{
	bool crosses = (gpa ^ (gpa + size - 1)) & ~7ull;

	return size < 4 || (crosses && ((gpa | size) & 7));
}

static void unshadow(struct tables *t, uint64_t gfn)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gfn, pages);

	t->stats.unshadowed += count > 0;
	for (unsigned int i = 0; i < count; i++) {
		if (t->page[pages[i]].live)
			shadow_page_drop(t, pages[i]);
	}
}

/*
 * Counts a store for every page that stands for the guest table. Returns true if all of those above the last level
 * are flooded. A root in use would be back at once, so it is never called so.
 */
static bool flooded(struct tables *t, const uint32_t *pages, unsigned int count)
{
	unsigned int upper = 0, flooded = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct shadow_page *p = &t->page[pages[i]];

		if (p->stores < FLOOD)
			p->stores++;
		upper += p->key.level > 1;
		flooded += p->key.level > 1 && p->stores == FLOOD;
	}
	return upper && flooded == upper;
}

static bool is_active_root(const struct tables *t, const uint32_t *pages, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (pages[i] == t->active[VIEW_KERNEL] || pages[i] == t->active[VIEW_USER])
			return true;
	}
	return false;
}

static void update(struct tables *t, uint32_t page, unsigned int index)
{
	spte_set(t, page, index, fill_updated(t, page, index));
}

bool store_gives_up(struct tables *t, uint64_t gfn, bool is_odd)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gfn, pages);

	t->stats.gpte_stores++;
	if ((!flooded(t, pages, count) && !is_odd) || is_active_root(t, pages, count))
		return false;
	unshadow(t, gfn);
	return true;
}

/* Stored to: [gpa, gpa + size) of one page. */
static void page_stored(struct tables *t, uint64_t gpa, uint64_t size, bool is_odd)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gpa >> PAGE_SHIFT, pages);

	if (!count || store_gives_up(t, gpa >> PAGE_SHIFT, is_odd))
		return;
	for (unsigned int i = 0; i < count; i++) {
		for (uint64_t at = gpa & ~7ull; at < gpa + size; at += sizeof(uint64_t)) {
			/* A table that leads to itself may have been given up by the entry before. */
			if (t->page[pages[i]].live)
				update(t, pages[i], at % PAGE_SIZE / sizeof(uint64_t));
		}
	}
}

void tables_stored(struct tables *t, uint64_t gpa, uint64_t size)
{
	bool is_odd = odd(gpa, size);

	while (size) {
		uint64_t room = PAGE_SIZE - gpa % PAGE_SIZE, part = size < room ? size : room;

		page_stored(t, gpa, part, is_odd);
		gpa += part;
		size -= part;
	}
}

/* A store of many pages is met by what is shadowed rather than by what is stored. */
static void forget_range(struct tables *t, uint64_t first, uint64_t last)
{
	for (uint32_t n = 0; n < t->used; n++) {
		const struct shadow_page *p = &t->page[n];

		if (p->live && !(p->key.role & ROLE_DIRECT) && p->key.gfn >= first && p->key.gfn <= last)
			unshadow(t, p->key.gfn);
	}
}

void tables_forget(struct tables *t, uint64_t gpa, uint64_t size)
{
	uint64_t first = gpa >> PAGE_SHIFT, last = (gpa + size - 1) >> PAGE_SHIFT;

	if (t->marking || !size)
		return;
	if (last - first < t->used) {
		for (uint64_t gfn = first; gfn <= last; gfn++)
			unshadow(t, gfn);
	} else {
		forget_range(t, first, last);
	}
}
