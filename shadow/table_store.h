/*
 * What stores to guest tables do to the pages that stand for them: entries follow, and a table that does not look like
 * one any more is given up. tables_stored() and tables_forget() of tables.h are here. Internal to the tables.
 */
#pragma once

#include "shadow/shadow_page.h"

/*
 * Counts a store to the guest table (one of its pages being shadowed), and gives it up if it is flooded, or the store
 * is odd for a table, unless it is a root in use. Returns whether it did.
 */
bool store_gives_up(struct tables *t, uint64_t gfn, bool is_odd);
