/*
 * Which pages a memory file holds (docs/snapshot-format.md): runs of pages in ascending order, and a checksum of every page
 * that is not zero. What is in no run is zero, or in a part of a chain as its parent has it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state;

struct page_run {
	uint64_t gpa;
	uint64_t pages;	 /* not 0 */
	bool zero;	 /* all of them are zero: no checksums */
	size_t checksum; /* index of the first page's in page_map.checksum */
};

struct page_map {
	struct page_run *run;
	size_t runs, run_room;
	uint64_t *checksum;
	size_t checksums, checksum_room;
};

void page_map_free(struct page_map *m);

/* Adds the page behind all others: of this checksum, or zero. Returns 0 or -ENOMEM (not logged). */
int page_map_add(struct page_map *m, uint64_t gpa, uint64_t checksum);
int page_map_add_zero(struct page_map *m, uint64_t gpa);

/* Saves or loads. `ram`: bytes of RAM that the pages must lie in. Without memory a load fails as bad state. */
void page_map_visit(struct page_map *m, struct state *s, uint64_t ram);

/* Pages in runs of either kind. */
uint64_t page_map_count(const struct page_map *m, bool zero);
