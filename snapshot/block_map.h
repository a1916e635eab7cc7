/*
 * How a compressed memory file is cut (docs/snapshot-format.md): the pages that have checksums, in the order of these, make
 * blocks of so many pages, each compressed on its own, one after the other. So a page can be read without those before it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct state;

struct memory_block {
	uint64_t at;	   /* in the file */
	uint32_t size;	   /* compressed; that of its pages: stored as they are */
	uint64_t checksum; /* of these bytes: what is damaged is never decompressed */
};

struct block_map {
	uint32_t pages; /* in each block but the last one, which has what is left */
	struct memory_block *block;
	size_t blocks, room;
	uint64_t bytes; /* of the file */
};

#define BLOCK_PAGES_MAX 256u

void block_map_free(struct block_map *m);

/* Adds the block behind all others. Returns 0 or -ENOMEM (not logged). */
int block_map_add(struct block_map *m, uint32_t size, uint64_t checksum);

/* Bytes of the pages of block `n`, of `pages` in all. */
uint32_t block_map_plain(const struct block_map *m, size_t n, uint64_t pages);

/* Saves or loads; `pages` in all blocks. Without memory a load fails as bad state. */
void block_map_visit(struct block_map *m, struct state *s, uint64_t pages);
