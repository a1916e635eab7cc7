/*
 * A guest with proper tables on the machine of shadow_machine.h, made page by page as they are needed, and accesses of which
 * it is known how they end and what they may cost.
 */
#pragma once

#include <stdint.h>

#include "shadow/shadow_page.h"
#include "tests/unit/shadow_machine.h"

#define PAGED_TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGED_PAGE_BITS (PAGED_TABLE_BITS | PTE_D)
#define PAGED_TRIES 16u /* faults that one access may take */

#define PAGED_TABLES 0x10000ull /* where tables are made, upwards */
#define PAGED_DATA 0x400000ull	/* for tests to map */

struct paged {
	struct machine m;
	uint64_t next; /* table */
};

/* A guest with an empty root; machine_destroy() its machine. */
void paged_create(struct paged *g, uint64_t ram, uint32_t pool);

/* A page for a table, empty. */
uint64_t paged_table(struct paged *g);

/* gpa of the entry for gva of that level, tables above it made as needed. */
uint64_t paged_entry(struct paged *g, uint64_t gva, int level);

void paged_map(struct paged *g, uint64_t gva, uint64_t gpte);

/* The access ends so; returns the exits it took. */
uint64_t paged_ends(struct paged *g, uint64_t gva, unsigned int access, enum machine_verdict expected);

/* Accesses to pages from gva on, all of which succeed; returns the exits they took. */
uint64_t paged_touch(struct paged *g, uint64_t gva, uint64_t pages, unsigned int access);
