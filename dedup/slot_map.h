/*
 * Which slots of a pool are taken: a bitmap that is small as long as few are, and that finds the lowest free slot, or room for
 * several side by side, without looking at all of it.
 *
 * Above the bitmap is another that tells which of its words are full, and so on up to a few words. The lowest slots are given out
 * first, so what is kept for each slot is needed for the lowest only.
 *
 * Not locked.
 */
#pragma once

#include <stdint.h>

#define SLOT_MAP_NONE UINT64_MAX
#define SLOT_MAP_LEVELS 6u

struct slot_map {
	uint64_t *level[SLOT_MAP_LEVELS]; /* [0]: taken slots; [n + 1]: full words of [n] */
	unsigned int levels;
	uint64_t slots, reserved; /* bytes at level[0] */
	uint64_t top;		  /* behind the last one that is taken */
	uint64_t most;		  /* the highest that was */
	uint64_t cursor;	  /* where to look next for several */
	uint64_t hopeless;	  /* there is no room for so many */
};

/* For at most 2^32 slots, all free. Returns 0 or a logged -errno. */
int slot_map_init(struct slot_map *m, uint64_t slots);
void slot_map_destroy(struct slot_map *m);

/*
 * Takes n (above 0) slots side by side. Returns the first, or SLOT_MAP_NONE: there is no such room. Only when there is no room
 * above all that is taken, all gaps are looked at, and that again only after slots were given back.
 */
uint64_t slot_map_take(struct slot_map *m, uint64_t n);
void slot_map_give(struct slot_map *m, uint64_t slot);

/* Memory that it has touched. */
uint64_t slot_map_bytes(const struct slot_map *m);
