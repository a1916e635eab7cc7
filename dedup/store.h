/*
 * A compact store of objects of 1 to STORE_MOST bytes, by size classes, that are named by handles: objects can be moved together
 * when many have gone, and empty blocks go back to the host.
 *
 * Not locked: its owner does that (group.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define STORE_MOST 3072u /* bytes */
#define STORE_NONE 0u	 /* no object has this handle */

struct store;

struct store_stats {
	uint64_t objects;
	uint64_t bytes;	    /* of objects, as they were put in */
	uint64_t held;	    /* bytes of memory that hold them, with what is unused between them */
	uint64_t metadata;  /* bytes beside that: handles, lists */
	uint64_t moved;	    /* objects, by compaction */
};

/* `most`: bytes of memory that it may take. Returns NULL and -ENOMEM is logged. */
struct store *store_create(uint64_t most);
void store_destroy(struct store *s);

/* Puts a copy in. Returns its handle, or STORE_NONE: there is no room, or no memory. */
uint32_t store_put(struct store *s, const void *bytes, unsigned int size);

/* The object's bytes, good until the next call that changes the store. An unknown handle is our bug. */
const void *store_get(const struct store *s, uint32_t handle, unsigned int *size);
void store_remove(struct store *s, uint32_t handle);

/* Moves at most `objects` objects together, and gives back what becomes empty. Returns false when there is nothing more to gain. */
bool store_compact(struct store *s, unsigned int objects);

void store_stats(const struct store *s, struct store_stats *stats);
