#include "shadow/tables.h"

#include <errno.h>
#include <stdlib.h>

#include "shadow/rmap.h"
#include "shadow/shadow_page.h"
#include "shadow/table_entry.h"
#include "shadow/table_fill.h"
#include "shadow/table_guard.h"
#include "shadow/table_sync.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

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

	ensure(!t->loans);
	if (shadow_page_find(t, &k) == NO_PAGE)
		t->stats.root_misses++;
	else
		t->stats.root_hits++;
	n = root_of(t, cs, view);
	t->active[view] = n;
	return n == NO_PAGE ? 0 : shadow_page_gpa(t, n);
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
	bool guarded;

	ensure(!t->loans);
	do {
		walk_guest(t->mem, cs, gva, access, w);
		tables_walked(t, w, false);
		if (!w->fault && (!w->level || table_index(gva, WALK_LEVELS) == MONITOR_SLOT))
			guest_fault(cs, access, w);
		if (w->fault)
			return TABLES_GUEST_FAULT;
		if (frame_number(t, w->gpa >> PAGE_SHIFT) == UINT64_MAX)
			return TABLES_DEVICE;
		root = root_of(t, cs, view);
		if (must_emulate(t, access, w->gpa >> PAGE_SHIFT))
			return TABLES_STORE;
	} while (!fill_mark(t, w, access));
	guarded = guard_open(t, w->gpa >> PAGE_SHIFT, access);
	if (root != NO_PAGE)
		fill_path(t, root, gva, w);
	/* The way there may have made a table of it. */
	if (must_emulate(t, access, w->gpa >> PAGE_SHIFT))
		return TABLES_STORE;
	return guarded ? TABLES_GUARDED : TABLES_FILLED;
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

void tables_show(const struct tables *t, const struct cpu_state *cs, enum view view, uint64_t gva, uint64_t *entry)
{
	struct page_key k = page_key_root(cs, view);
	uint32_t page = shadow_page_find(t, &k);

	for (int level = WALK_LEVELS; level && page != NO_PAGE; level--) {
		entry[level] = spte_get(t, page, table_index(gva, level));
		if (!(entry[level] & PTE_P) || spte_kind(level, entry[level]) != SPTE_PAGE)
			break;
		page = spte_child(t, entry[level]);
	}
}

struct tables_stats tables_stats(const struct tables *t)
{
	return t->stats;
}
