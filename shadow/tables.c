#include "shadow/tables.h"

#include <errno.h>
#include <stdlib.h>

#include "shadow/shadow_page.h"
#include "shadow/table_entry.h"
#include "shadow/table_fill.h"
#include "shadow/table_sync.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

#define FLOOD 3u /* stores in a row, none of them followed by a use of the table, after which it is taken for data */

static bool pool_is_ram(const struct mem *m, const struct tables_pool *pool)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		if (m->region[i].gpa + m->region[i].size > pool->gpa)
			return true;
	}
	return false;
}

struct tables *tables_create(struct mem *m, const struct tables_pool *pool, uint64_t monitor_pml4e)
{
	struct tables *t = calloc(1, sizeof(*t));

	ensure(pool->pages >= TABLES_MIN_PAGES && pool->pages <= TABLES_MAX_PAGES && !pool_is_ram(m, pool));
	if (!t) {
		log_errno(ENOMEM, "shadow: tables");
		return NULL;
	}
	t->mem = m;
	t->pool = *pool;
	t->monitor_pml4e = monitor_pml4e;
	if (shadow_pages_create(t) == 0)
		return t;
	tables_destroy(t);
	return NULL;
}

void tables_destroy(struct tables *t)
{
	shadow_pages_destroy(t);
	free(t);
}

static void drop_oldest_root(struct tables *t)
{
	uint32_t oldest = t->root[0];

	for (unsigned int i = 1; i < t->roots; i++) {
		if (t->page[t->root[i]].last_use < t->page[oldest].last_use)
			oldest = t->root[i];
	}
	shadow_page_drop(t, oldest);
}

static uint32_t make_root(struct tables *t, const struct page_key *k)
{
	uint32_t n;

	if (t->roots == MAX_ROOTS)
		drop_oldest_root(t);
	n = fill_page(t, k);
	if (n == NO_PAGE)
		return NO_PAGE;
	/* No other entry of the slot is ever made: it belongs to no list and never changes. */
	((uint64_t *)(t->pool.hva + ((size_t)n << PAGE_SHIFT)))[MONITOR_SLOT] = t->monitor_pml4e;
	t->root[t->roots++] = n;
	return n;
}

static uint32_t root_of(struct tables *t, const struct cpu_state *cs, enum view view)
{
	struct page_key k = page_key_root(cs, view);
	uint32_t n = shadow_page_find(t, &k);

	if (n == NO_PAGE)
		n = make_root(t, &k);
	if (n != NO_PAGE)
		t->page[n].last_use = ++t->clock;
	return n;
}

uint64_t tables_root(struct tables *t, const struct cpu_state *cs, enum view view)
{
	struct page_key k = page_key_root(cs, view);
	uint32_t n;

	if (shadow_page_find(t, &k) == NO_PAGE)
		t->stats.root_misses++;
	else
		t->stats.root_hits++;
	n = root_of(t, cs, view);
	t->active[view] = n;
	return n == NO_PAGE ? 0 : shadow_page_gpa(t, n);
}

/* The listeners of mem.h, through which the VMM's stores come back to us, are told of these as well. */
static bool mark(struct tables *t, struct walk *w, unsigned int access)
{
	bool marked;

	t->marking = true;
	marked = walk_mark(t->mem, w, access);
	t->marking = false;
	return marked;
}

static void guest_fault(const struct cpu_state *cs, unsigned int access, struct walk *w)
{
	w->fault = 1;
	w->error = (access & MMU_WRITE ? PF_WRITE : 0) | (access & MMU_USER ? PF_USER : 0);
	if ((access & MMU_EXEC) && ((cs->efer & EFER_NXE) || (cs->cr4 & CR4_SMEP)))
		w->error |= PF_FETCH;
}

/* A write to a table: true if it must be emulated, false if it may just happen. */
static bool must_emulate(struct tables *t, unsigned int access, uint64_t gfn)
{
	return (access & MMU_WRITE) && shadow_page_is_protected(t, gfn) && !sync_let_go(t, gfn);
}

enum tables_verdict tables_fault(struct tables *t, const struct cpu_state *cs, enum view view, uint64_t gva,
				 unsigned int access, struct walk *w)
{
	uint32_t root;

	do {
		walk_guest(t->mem, cs, gva, access, w);
		if (!w->fault && (!w->level || table_index(gva, WALK_LEVELS) == MONITOR_SLOT))
			guest_fault(cs, access, w);
		if (w->fault)
			return TABLES_GUEST_FAULT;
		if (frame_number(t, w->gpa >> PAGE_SHIFT) == UINT64_MAX)
			return TABLES_DEVICE;
		root = root_of(t, cs, view);
		if (must_emulate(t, access, w->gpa >> PAGE_SHIFT))
			return TABLES_STORE;
	} while (!mark(t, w, access));
	if (root != NO_PAGE)
		fill_path(t, root, gva, w);
	/* The way there may have made a table of it. */
	return must_emulate(t, access, w->gpa >> PAGE_SHIFT) ? TABLES_STORE : TABLES_FILLED;
}

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

/* Stored to: [gpa, gpa + size) of one page. */
static void page_stored(struct tables *t, uint64_t gpa, uint64_t size, bool is_odd)
{
	uint32_t pages[MAX_KEYS];
	unsigned int count = shadow_pages_of(t, gpa >> PAGE_SHIFT, pages);

	if (!count)
		return;
	t->stats.gpte_stores++;
	if ((flooded(t, pages, count) || is_odd) && !is_active_root(t, pages, count)) {
		unshadow(t, gpa >> PAGE_SHIFT);
		return;
	}
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

bool tables_is_table(const struct tables *t, uint64_t gpa)
{
	return shadow_page_is_protected(t, gpa >> PAGE_SHIFT);
}

void tables_invlpg(struct tables *t, const struct cpu_state *cs, uint64_t gva)
{
	sync_address(t, cs->cr3, gva);
}

/* Not only what belongs to the new CR3: a table can be everybody's. */
void tables_load_cr3(struct tables *t, const struct cpu_state *cs)
{
	sync_all(t);
}

const struct tables_edit *tables_edits(struct tables *t, size_t *count)
{
	t->edits_handed = *count = t->edits;
	return t->edit;
}

void tables_edits_done(struct tables *t)
{
	edits_done(t);
}

bool tables_must_recycle(const struct tables *t)
{
	return t->must_recycle;
}

void tables_recycle(struct tables *t)
{
	shadow_pages_reset(t);
	t->stats.recycled++;
}

void tables_drop_all(struct tables *t)
{
	tables_out_of_room(t);
}

struct tables_stats tables_stats(const struct tables *t)
{
	return t->stats;
}
