/* The page tables below a root: entries of 4 KiB pages, found and made; tables freed that nothing needs any more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The lowest-level entry of `gva`, or NULL. With `create`, tables are made on the way; NULL then means no memory. */
uint64_t *tables_entry(uint64_t root, uint64_t gva, bool create);
/* Calls `visit` for each present entry of the pages [start, end); stops at the first result that is not 0: its own. */
int tables_each(uint64_t root, uint64_t start, uint64_t end,
		int (*visit)(uint64_t *pte, uint64_t gva, void *arg), void *arg);
/*
 * Frees the tables of which nothing lies below `start`, and something below `end`. No page from `start` on may be
 * present in them: freed tables are taken to be all zero.
 */
void tables_free(uint64_t root, uint64_t start, uint64_t end);
