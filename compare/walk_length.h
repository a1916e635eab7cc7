/*
 * How many references to memory one TLB miss costs the hardware, worked out from the tables, with nothing cached.
 *
 * One dimension: an entry of each level is read; 4 levels for a page of 4 KiB, 3 for one of 2 MiB (Intel SDM vol. 3A, 4.5;
 * AMD APM vol. 2, 5.3). Two dimensions: every table of the first lies at a guest-physical address, which the second
 * translates before its entry can be read, and so does the page itself: with g and h levels (g + 1)(h + 1) - 1 (Bhargava,
 * Serebrin, Spadini, Manne: Accelerating Two-Dimensional Page Walks for Virtualized Systems, ASPLOS 2008; AMD APM vol. 2,
 * 15.25; Intel SDM vol. 3C, 29.3).
 *
 *	direct mode, nested	g: the guest's tables; h: the host's, by the size of its pages of guest RAM
 *	shadow mode, nested	g: our tables, which keep 2 MiB pages that are RAM of one region without a guest's table in
 *				them, and lie in memory of 4 KiB pages themselves; h as above. Still the first of two
 *				dimensions: only KVM without nested paging makes it one
 *	not nested		KVM folds both into one dimension, of pages as small as the smaller of the two
 *
 * Processors remember upper levels and entries of the second dimension, so these are what tables make possible, not what
 * is paid. A host that is a virtual machine itself may have a dimension more below it, which nobody in it can see.
 */
#pragma once

#include "compare/comparison.h"
#include "compare/workload.h"

/* For a mode on a host, and a guest that maps pages of this size; references are 0 if the host's pages are not known. */
struct walk_length walk_length_of(const struct column *c, enum workload_pages pages);

/*
 * References of a walk of two dimensions: `levels` tables whose own addresses take table_levels references
 * each to translate, and a page whose address takes page_levels. Zeros there: one dimension.
 */
unsigned int walk_references(unsigned int levels, unsigned int table_levels, unsigned int page_levels);
