/*
 * The memory file of a snapshot while it is written: pages as they are, at the offset that is their gpa, or in compressed blocks
 * (block_map.h). What pages there are is noted elsewhere (page_map.h), in the same order.
 */
#pragma once

#include <stdint.h>
#include <zstd.h>

struct snapshot;

struct page_writer {
	int fd;		     /* not owned */
	struct snapshot *sn; /* gets the map of blocks, if it is to be compressed */
	uint64_t bytes;	     /* written so far */

	ZSTD_CCtx *zstd; /* NULL: plain */
	uint8_t *plain;	 /* pages of the block that is being filled */
	uint8_t *packed;
	uint32_t used; /* bytes of `plain` */
};

/* For an empty file. Returns 0, or -errno and nothing to be closed. */
int page_writer_open(struct page_writer *w, struct snapshot *sn, int fd);

/*
 * The next [gpa, gpa + size): whole pages, none of them zero, behind all that were put before. The bytes are free again when it
 * returns. Returns 0 or -errno.
 */
int page_writer_put(struct page_writer *w, uint64_t gpa, const uint8_t *bytes, uint64_t size);

/* After the last one. Returns 0 or -errno. The file is not synced. */
int page_writer_finish(struct page_writer *w);
void page_writer_close(struct page_writer *w);
