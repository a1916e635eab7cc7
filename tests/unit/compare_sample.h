/*
 * Comparisons for tests of what people see: like those of real hosts, and as odd as can be.
 */
#pragma once

#include "compare/comparison.h"

enum sample {
	SAMPLE_INTERPRETED, /* two columns; KVM shadows, and interprets ring 0 */
	SAMPLE_LAB,	    /* three columns of an emulation: our shadow, nested paging, KVM's own shadow */
	SAMPLE_PARTIAL,	    /* the first, cut short; a cell that cannot */
	SAMPLE_HOSTILE,	    /* texts with markup, control characters and broken UTF-8, everywhere, as long as can be */
	SAMPLE_EIGHT,	    /* as many columns as there may be */
	SAMPLE_ONE,	    /* a column with nothing beside it */
	SAMPLE_EMPTY,	    /* columns without rows */
	SAMPLE_NOTHING,	    /* not even columns */
	SAMPLES
};

/* Fills an empty comparison. Exits the test where there is no memory. */
void sample_make(struct comparison *c, enum sample kind);

/* Steps for other made-up comparisons. */
struct column *sample_column(struct comparison *c, const char *name, const char *mmu, const char *host_mmu, bool nested);
struct row *sample_row(struct comparison *c, const char *name, const char *group);

/* A measured cell: n samples around `us`, which wander by `noise` (0.1: ten percent), and exits. */
void sample_cell(struct cell *cell, unsigned int n, double us, double noise, double exits);
void sample_cause(struct cell *cell, const char *name, double per_operation);
