/*
 * What a guest with random tables (shadow_zone.h) may find, held against its own tables as they are and, until it flushes, as
 * they were.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/shadow_page.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_machine.h"
#include "tests/unit/shadow_zone.h"

#define LIFE_HOT 8u
#define LIFE_OLD 48u
#define LIFE_FLUSHED 32u

/*
 * A guest and its chances. It may find what it changed in a table out of sync as it was before, until it flushes: CR3
 * is loaded when `old` is full.
 */
struct life {
	struct machine m;
	struct random r;
	uint64_t hot[LIFE_HOT]; /* gvas that were good not long ago */
	struct old {
		uint64_t gpte_gpa, value;
	} old[LIFE_OLD]; /* entries of tables out of sync before they were stored to */
	unsigned int olds;
	struct flushed {
		uint64_t gva_page;
		unsigned int olds; /* all before no longer count for it */
	} flushed[LIFE_FLUSHED];
	unsigned int flushes;
};

/* What the guest's CPU would do with an access, and leave in its tables. */
struct expected {
	uint64_t gva;
	struct walk walk;
	bool ram, monitor;
	uint64_t zone[ZONE_PAGES * PAGE_SIZE / 8];
};

/* Loads CR3, with the value it has: nothing is excused any more. */
void life_flush(struct life *l);

void life_invlpg(struct life *l, uint64_t gva);

/* A store by whichever way it takes. */
void life_store(struct life *l, uint64_t gpa, const void *bytes, uint64_t size);

/* Looks at the guest's tables before an access. */
void life_expect(struct machine *m, uint64_t gva, unsigned int access, struct expected *e);

/* The access has ended so: as was to be expected, or as it may from what has not been flushed. */
void life_compare(struct life *l, struct expected *e, unsigned int access, enum machine_verdict v, uint64_t gpa,
		  const struct walk *w);
