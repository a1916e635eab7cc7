#include "shadow/rmap.h"

#include "vmm/ensure.h"

enum spte_kind spte_kind(int level, uint64_t spte)
{
	if (level == 1)
		return SPTE_SMALL;
	return level == 2 && (spte & PTE_PS) ? SPTE_LARGE : SPTE_PAGE;
}

uint32_t spte_child(const struct tables *t, uint64_t spte)
{
	uint64_t n = ((spte & PTE_ADDR) - t->pool.gpa) >> 12;

	ensure(n < t->used && t->page[n].live);
	return (uint32_t)n;
}

spte_id *rmap_list(struct tables *t, int level, uint64_t spte)
{
	enum spte_kind kind = spte_kind(level, spte);
	uint64_t frame;

	if (kind == SPTE_PAGE)
		return &t->page[spte_child(t, spte)].parents;
	frame = frame_number(t, gfn_of(spte));
	ensure(frame < t->frames);
	return kind == SPTE_SMALL ? &t->small_maps[frame] : &t->large_maps[frame / LARGE_FRAMES];
}

void rmap_add(struct tables *t, spte_id *list, spte_id id)
{
	t->link[id - 1] = (struct spte_link){.next = *list};
	if (*list)
		t->link[*list - 1].previous = id;
	*list = id;
}

void rmap_remove(struct tables *t, spte_id *list, spte_id id)
{
	struct spte_link l = t->link[id - 1];

	if (l.previous)
		t->link[l.previous - 1].next = l.next;
	else
		*list = l.next;
	if (l.next)
		t->link[l.next - 1].previous = l.previous;
}
