/*
 * Random guest tables with all that guests can do wrong in them, for the random lives of shadow_lives.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/random.h"
#include "tests/unit/shadow_machine.h"

#define ZONE_RAM (8ull << 20)

/*
 * The zone: pages that are tables to some and data to others; most of the first are PML4s, and so on down. There are
 * entries only at a few indexes, so that random gvas get far. It crosses a 2 MiB border.
 */
#define ZONE 0x1fa000ull
#define ZONE_PAGES 14u

#define ZONE_INDEXES 6u
extern const unsigned int zone_indexes[ZONE_INDEXES];

bool zone_one_in(struct random *r, unsigned int n);

/* gpa of a table of that level, as a rule. */
uint64_t zone_table(struct random *r, int level);

/* gpa of whatever a guest may let an entry lead to, good or bad. */
uint64_t zone_target(struct random *r);

/* P, W, U, A, D, NX, PS, reserved bits, and now and then anything. */
uint64_t zone_flip(struct random *r, uint64_t gpte);

/* An entry for gpa: one that makes sense there as a rule. */
uint64_t zone_gpte(struct random *r, uint64_t gpa);

/* gpa of an entry that is in use. */
uint64_t zone_entry(struct random *r);

uint64_t zone_gva(struct random *r);

/* Fills all entries that are in use. */
void zone_fill(struct machine *m, struct random *r);
