/*
 * Pages of a compressed memory file (block_map.h), any of them in any order.
 */
#pragma once

#include <stdint.h>

struct block_map;
struct block_reader;

/* Of a file that is as long as the map says; both outlive the reader. `pages`: in all blocks. NULL: out of memory. */
struct block_reader *block_reader_new(const struct block_map *map, uint64_t pages, int fd);
void block_reader_free(struct block_reader *b);

/*
 * Any thread: brings the pages [first, first + count), as they are counted in page_map.checksum, to `to`. Their own checksums are
 * the caller's to check. Returns 0, -EBADMSG: their blocks are damaged, or -errno of the read. `to` may have changed even so.
 */
int block_reader_read(struct block_reader *b, uint64_t first, uint64_t count, uint8_t *to);
