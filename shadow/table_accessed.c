#include "shadow/table_accessed.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/log.h"

static uint64_t words(const struct tables *t)
{
	return (t->frames + 63) / 64;
}

/* Not RAM: a table or a page that the guest's tables lead to, and that is not there. */
static void note_gfn(struct tables *t, uint64_t gfn)
{
	uint64_t frame = frame_number(t, gfn);

	if (frame != UINT64_MAX)
		t->accessed[frame / 64] |= 1ull << frame % 64;
}

/* Large pages are taken apart meanwhile: all leaf entries are of the last level. */
static bool has_leaves(const struct shadow_page *p)
{
	return p->key.level == 1;
}

static void note_spte(struct tables *t, uint64_t spte)
{
	if ((spte & (PTE_P | PTE_A)) == (PTE_P | PTE_A))
		note_gfn(t, gfn_of(spte));
}

void accessed_note(struct tables *t, uint32_t page, unsigned int index)
{
	const uint64_t *entries = (const uint64_t *)(t->pool.hva + ((size_t)page << 12));

	if (t->accessed && has_leaves(&t->page[page]))
		note_spte(t, __atomic_load_n(&entries[index], __ATOMIC_RELAXED));
}

void accessed_note_all(struct tables *t)
{
	for (uint32_t n = 0; t->accessed && n < t->used; n++) {
		if (!t->page[n].live || !has_leaves(&t->page[n]))
			continue;
		for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
			accessed_note(t, n, i);
	}
}

uint64_t accessed_fresh(const struct tables *t, uint32_t page, uint64_t spte)
{
	return t->accessed && has_leaves(&t->page[page]) ? spte & ~PTE_A : spte;
}

void tables_walked(struct tables *t, const struct walk *w, bool used)
{
	if (!t->accessed)
		return;
	for (int level = WALK_LEVELS; w->level && level >= w->level; level--)
		note_gfn(t, w->gpte_gpa[level] >> 12);
	if (used)
		note_gfn(t, w->gpa >> 12);
}

/* Entries that were made before have A: none of them may stay. */
static int start(struct tables *t)
{
	uint64_t *accessed = calloc(words(t), sizeof(*accessed));

	if (!accessed)
		return log_errno(ENOMEM, "shadow: list of used pages");
	tables_drop_all(t);
	t->accessed = accessed;
	return 0;
}

void tables_ignore_accessed(struct tables *t)
{
	if (!t->accessed)
		return;
	free(t->accessed);
	t->accessed = NULL;
	/* Without, large pages may be mapped in one piece again. */
	tables_drop_all(t);
}

int tables_accessed(struct tables *t, uint64_t *pages)
{
	if (!t->accessed)
		return start(t);
	tables_drop_all(t);
	for (uint64_t i = 0; i < words(t); i++) {
		pages[i] |= t->accessed[i];
		t->accessed[i] = 0;
	}
	return 1;
}
