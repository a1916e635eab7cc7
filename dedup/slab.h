/*
 * Memory in pieces of one size, slabs. A slab is divided into slots by its owner, who takes and frees them one by one, and begins with
 * a word for each slot: the owner's value of a slot that is taken, or the next free slot. A slab none of whose slots is taken can go
 * back to the host.
 *
 * Slabs are named by numbers, and so are slots within them. The owner keeps lists of slabs; each slab is in at most one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dedup/reserve.h"

#define SLAB_NONE UINT32_MAX
#define SLAB_VALUE_BITS 31

struct slab {
	uint32_t next, prev;	/* in its list */
	uint16_t used;		/* slots that are taken */
	uint16_t touched;	/* the first so many slots have been taken before */
	uint16_t free;		/* the first free one of these, + 1; 0 = none */
	uint8_t kind, list;	/* the owner's */
};

struct slabs {
	struct reserve memory, records;
	uint32_t bytes;	 /* of a slab */
	uint32_t most;	 /* slabs */
	uint32_t made;	 /* of slabs with higher numbers there is no record yet */
	uint32_t in_use;
	uint32_t unused; /* list: given back */
};

/* For at most so many slabs of so many bytes, whole pages. Returns 0, or -errno, which is logged. */
int slabs_init(struct slabs *s, uint32_t bytes, uint32_t most);
void slabs_destroy(struct slabs *s);
uint64_t slabs_record_bytes(const struct slabs *s);

/* A slab without taken slots, in no list. SLAB_NONE: no room or no memory, and nothing has changed. */
uint32_t slabs_new(struct slabs *s);

/* Gives back one that is in no list. */
void slabs_drop(struct slabs *s, uint32_t n);

struct slab *slab_at(const struct slabs *s, uint32_t n);

/* The words of its slots; behind them is the owner's. */
uint32_t *slab_words(const struct slabs *s, uint32_t n);

/* Takes a slot for a value of SLAB_VALUE_BITS; the owner knows that one is free. */
unsigned int slab_take(struct slabs *s, uint32_t n, uint32_t value);
void slab_free(struct slabs *s, uint32_t n, unsigned int slot);
bool slab_is_taken(const struct slabs *s, uint32_t n, unsigned int slot);

/* A list is the number of its first, SLAB_NONE if it is empty. */
void slab_push(struct slabs *s, uint32_t *list, uint32_t n);
void slab_unlink(struct slabs *s, uint32_t *list, uint32_t n);
