/* tables_lend() and tables_take_back() of tables.h. */
#include "shadow/shadow_page.h"
#include "shadow/table_entry.h"
#include "shadow/table_fill.h"
#include "shadow/table_store.h"
#include "shadow/table_sync.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"

/* Makes the path of a store to gva present. Returns whether the store is allowed, and would be one to a table in sync. */
static bool reach(struct tables *t, const struct cpu_state *cs, enum view view, uint64_t gva, unsigned int access)
{
	struct page_key k = page_key_root(cs, view);
	enum tables_verdict v;
	struct walk w;
	uint32_t root;

	do {
		v = tables_fault(t, cs, view, gva, access, &w);
	} while (v == TABLES_STORE && !fill_mark(t, &w, access));
	root = shadow_page_find(t, &k);
	if (v != TABLES_STORE || root == NO_PAGE)
		return false;
	fill_path(t, root, gva, &w);
	return !t->must_recycle;
}

/* The path may have lost to that of another loan: then there is nothing to lend until the guest faults there again. */
static void lend(struct tables *t, uint32_t root, uint64_t gva)
{
	uint32_t leaf = root == NO_PAGE ? NO_PAGE : sync_last_page(t, root, gva);
	unsigned int index = table_index(gva, 1);
	uint64_t spte;

	if (leaf == NO_PAGE)
		return;
	spte = spte_get(t, leaf, index);
	if (!(spte & PTE_P) || !shadow_page_is_table(t, gfn_of(spte)) || shadow_page_is_unsync(t, gfn_of(spte)))
		return;
	t->loan[t->loans++] = (struct loan){.gfn = gfn_of(spte), .page = leaf, .index = (uint16_t)index};
	spte_set(t, leaf, index, fill_updated(t, leaf, index));
}

void tables_lend(struct tables *t, const struct cpu_state *cs, enum view view, unsigned int access, const uint64_t *gva,
		 size_t count)
{
	struct page_key k = page_key_root(cs, view);
	bool reached[TABLES_MAX_LOANS] = {false};

	ensure(count <= TABLES_MAX_LOANS && !t->loans);
	/* All paths first: what is made on the way must find every table protected. */
	for (size_t i = 0; i < count && !t->must_recycle; i++)
		reached[i] = reach(t, cs, view, gva[i], access);
	for (size_t i = 0; i < count && !t->must_recycle; i++) {
		if (reached[i])
			lend(t, shadow_page_find(t, &k), gva[i]);
	}
}

bool tables_lent(const struct tables *t)
{
	return t->loans;
}

void tables_take_back(struct tables *t)
{
	struct loan loan[TABLES_MAX_LOANS];
	unsigned int count = t->loans;

	for (unsigned int i = 0; i < count; i++)
		loan[i] = t->loan[i];
	/* All count as protected from here on, so that no entry keeps one of them writable. */
	t->loans = 0;
	for (unsigned int i = 0; i < count; i++) {
		if (shadow_page_is_protected(t, loan[i].gfn))
			write_protect(t, loan[i].gfn);
	}
	for (unsigned int i = 0; i < count; i++) {
		if (shadow_page_is_protected(t, loan[i].gfn) && !store_gives_up(t, loan[i].gfn, false))
			sync_whole(t, loan[i].gfn);
	}
}
