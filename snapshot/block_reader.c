#include "snapshot/block_reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "snapshot/block_map.h"
#include "snapshot/checksum.h"
#include "snapshot/read_all.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"

struct block_reader {
	const struct block_map *map;
	uint64_t pages; /* in all blocks */
	int fd;
	pthread_mutex_t lock; /* of all below */
	ZSTD_DCtx *zstd;
	uint8_t *packed, *plain; /* room for a block */
	size_t held;		 /* the block whose pages are in `plain`; SIZE_MAX: none */
};

struct block_reader *block_reader_new(const struct block_map *map, uint64_t pages, int fd)
{
	struct block_reader *b = malloc(sizeof(*b));
	size_t room = (size_t)map->pages << PAGE_SHIFT;

	if (!b)
		return NULL;
	*b = (struct block_reader){.map = map, .pages = pages, .fd = fd, .zstd = ZSTD_createDCtx(), .packed = malloc(room),
				   .plain = malloc(room), .held = SIZE_MAX};
	pthread_mutex_init(&b->lock, NULL);
	if (b->zstd && b->packed && b->plain)
		return b;
	block_reader_free(b);
	return NULL;
}

void block_reader_free(struct block_reader *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	ZSTD_freeDCtx(b->zstd);
	free(b->packed);
	free(b->plain);
	free(b);
}

/* The file may be a hostile one, or may have changed since it was opened. */
static int unpack(struct block_reader *b, const struct memory_block *block, uint32_t plain)
{
	if (checksum64(b->packed, block->size) != block->checksum)
		return -EBADMSG;
	if (block->size == plain) {
		memcpy(b->plain, b->packed, plain);
		return 0;
	}
	return ZSTD_decompressDCtx(b->zstd, b->plain, plain, b->packed, block->size) == plain ? 0 : -EBADMSG;
}

static int hold(struct block_reader *b, size_t n)
{
	const struct memory_block *block = &b->map->block[n];
	int r;

	if (b->held == n)
		return 0;
	b->held = SIZE_MAX;
	r = read_all(b->fd, b->packed, block->size, block->at);
	if (r == 0)
		r = unpack(b, block, block_map_plain(b->map, n, b->pages));
	if (r == 0)
		b->held = n;
	return r;
}

static int read_pages(struct block_reader *b, uint64_t first, uint64_t count, uint8_t *to)
{
	for (uint64_t n; count; count -= n) {
		uint64_t within = first % b->map->pages, rest = b->map->pages - within;
		int r = hold(b, first / b->map->pages);

		if (r < 0)
			return r;
		n = count < rest ? count : rest;
		memcpy(to, b->plain + (within << PAGE_SHIFT), n << PAGE_SHIFT);
		to += n << PAGE_SHIFT;
		first += n;
	}
	return 0;
}

int block_reader_read(struct block_reader *b, uint64_t first, uint64_t count, uint8_t *to)
{
	int r;

	ensure(first <= b->pages && count <= b->pages - first);
	pthread_mutex_lock(&b->lock);
	r = read_pages(b, first, count, to);
	pthread_mutex_unlock(&b->lock);
	return r;
}
