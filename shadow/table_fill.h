/*
 * Shadow entries from guest entries: what an entry is to say, and how a walk of the guest's tables is followed down
 * the shadow's, pages made on the way. Internal to the tables (tables.h).
 */
#pragma once

#include "shadow/shadow_page.h"

/* Sets A and D for a finished walk, as hardware would. False if the guest's tables changed: walk again. */
bool fill_mark(struct tables *t, struct walk *w, unsigned int access);

/* The page for k, made and its guest table write-protected if need be. NO_PAGE when out of room. */
uint32_t fill_page(struct tables *t, const struct page_key *k);

/*
 * Makes the path of a finished, marked walk present, from page `root` down, and the leaf entry for it (read-only if
 * the page it maps is shadowed as a table), and ready neighbours of the leaf entry. On lack of room it stops
 * somewhere.
 */
void fill_path(struct tables *t, uint32_t root, uint64_t gva, const struct walk *w);

/*
 * What the entry is to say now that its gpte may have changed: a present entry something right, or not present; one
 * that is not present stays so.
 */
uint64_t fill_updated(const struct tables *t, uint32_t page, unsigned int index);
