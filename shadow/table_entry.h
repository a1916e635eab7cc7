/*
 * Single shadow entries: reading them as they will be once all edits are done, and the two ways of changing them
 * (invariant 7 of tables.h). The reverse map and the pages' lives follow from the entries: a page that no spte leads
 * to any more, and that is no root, is given up. Internal to the tables.
 */
#pragma once

#include "shadow/shadow_page.h"

/* The entry, an edit that waits taken as done. A is always set where it is present: see table_accessed.h for what it says. */
uint64_t spte_get(const struct tables *t, uint32_t page, unsigned int index);

/*
 * Makes the entry say `spte`. When there is no room for the edit it takes, tables_out_of_room(): callers that go on
 * look at t->must_recycle.
 */
void spte_set(struct tables *t, uint32_t page, unsigned int index, uint64_t spte);

/* Takes the page out of every table that leads to it and gives it up, roots too. */
void shadow_page_drop(struct tables *t, uint32_t page);

/* Makes the frame read-only in all that maps it, large sptes going altogether. */
void write_protect(struct tables *t, uint64_t gfn);

/* The edits handed out have been carried out; checks that they have. */
void edits_done(struct tables *t);
