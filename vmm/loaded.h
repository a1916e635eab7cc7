/*
 * Which guest pages an image has just brought into RAM, as far as there is room to note it: a hint, for guests of one image have these
 * pages in common. What is noted was written through the door of mem.h; when it is in too many places the smallest are left out.
 */
#pragma once

#include <stdint.h>

#include "vmm/mem.h"

#define LOADED_EXTENTS 8u

/* Whole pages of one region. size 0: none. */
struct loaded_extent {
	uint64_t gpa, size;
};

/* All zero: nothing was loaded. */
struct loaded {
	struct loaded_extent extent[LOADED_EXTENTS]; /* in no order; none touches another */
	struct mem_listener listener;
};

/* From here to loaded_end() what is written is noted, and what was noted before is forgotten. */
void loaded_begin(struct loaded *l, struct mem *m);
void loaded_end(struct loaded *l, struct mem *m);
