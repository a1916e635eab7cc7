/*
 * The reverse map: for each guest frame the leaf sptes that map it, for each shadow page the sptes that lead to it.
 * Doubly linked through arrays parallel to the shadow pages: 8 bytes a spte and 4 a frame, and taking a spte out of a
 * list of any length costs the same. Internal to the tables (tables.h).
 */
#pragma once

#include "shadow/shadow_page.h"

static inline spte_id spte_id_of(uint32_t page, unsigned int index)
{
	return (page << 9 | index) + 1;
}

static inline uint32_t spte_page(spte_id id)
{
	return (id - 1) >> 9;
}

static inline unsigned int spte_index(spte_id id)
{
	return (id - 1) & (TABLE_ENTRIES - 1);
}

/* What a present spte of a page at `level` leads to. */
enum spte_kind { SPTE_SMALL, SPTE_LARGE, SPTE_PAGE };
enum spte_kind spte_kind(int level, uint64_t spte);

/* Number of the shadow page that a non-leaf spte leads to. */
uint32_t spte_child(const struct tables *t, uint64_t spte);

/* Head of the list in which a present spte of a page at `level` belongs. */
spte_id *rmap_list(struct tables *t, int level, uint64_t spte);

void rmap_add(struct tables *t, spte_id *list, spte_id id);
void rmap_remove(struct tables *t, spte_id *list, spte_id id);
