/*
 * Guest tables out of sync: a last-level table that the guest writes to is made writable instead of having each store
 * emulated. Its present sptes may then be older than their gptes, like translations in a TLB, until the guest says
 * that they must not: INVLPG brings one up to date, a load of CR3 all, and ends the table's being out of sync.
 * Entries that are not present are always filled from what the gpte says at that moment. Internal to the tables
 * (tables.h).
 */
#pragma once

#include "shadow/shadow_page.h"

/* Lets the guest write to its table, if it serves at the last level only. Returns whether it may. */
bool sync_let_go(struct tables *t, uint64_t gfn);

/* Brings all entries of a page up to date. Returns the page, which may be another one now. */
uint32_t sync_page(struct tables *t, uint32_t page);

/* Brings a guest table back into sync, if it is out of it, and write-protects it. */
void sync_table(struct tables *t, uint64_t gfn);
void sync_all(struct tables *t);

/* Brings up to date what the tables of cr3 say about gva, in all views and roles. */
void sync_address(struct tables *t, uint64_t cr3, uint64_t gva);

/* Brings all that stands for a guest table in sync, of whatever level, up to date with stores nobody reported. */
void sync_whole(struct tables *t, uint64_t gfn);

/* The last-level page for gva below root, or NO_PAGE. */
uint32_t sync_last_page(const struct tables *t, uint32_t root, uint64_t gva);
