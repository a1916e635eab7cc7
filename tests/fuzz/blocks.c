/*
 * Fuzz target: any bytes as blocks of a compressed memory file, with right checksums. A block is all of its pages, the same in
 * whichever order they are read, or it is refused.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/block_map.h"
#include "snapshot/block_reader.h"
#include "snapshot/checksum.h"
#include "tests/fuzz/target.h"
#include "vmm/mem.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz blocks: %s\n", what);
	abort();
}

/* What the input is: pages in a block, pages in all, and the blocks, each its length before it. */
struct input {
	struct block_map map;
	uint64_t pages;
	int fd;
};

/* One more block from the input: no more bytes than its pages have. */
static const uint8_t *take_block(struct input *in, const uint8_t *bytes, size_t left)
{
	uint32_t most = block_map_plain(&in->map, in->map.blocks, in->pages), size = bytes[0] | (uint32_t)bytes[1] << 8;

	size = 1 + size % most;
	size = size < left - 2 ? size : (uint32_t)(left - 2);
	require(pwrite(in->fd, bytes + 2, size, (off_t)in->map.bytes) == (ssize_t)size, "cannot write");
	require(block_map_add(&in->map, size, checksum64(bytes + 2, size)) == 0, "no memory");
	return bytes + 2 + size;
}

static bool take_input(struct input *in, const uint8_t *bytes, size_t size)
{
	const uint8_t *end = bytes + size;

	if (size < 2)
		return false;
	*in = (struct input){.map.pages = 1 + bytes[0] % 32u, .pages = bytes[1] % 64u, .fd = memfd_create("blocks", MFD_CLOEXEC)};
	require(in->fd >= 0, "no file");
	bytes += 2;
	while ((uint64_t)in->map.blocks * in->map.pages < in->pages && end - bytes > 2)
		bytes = take_block(in, bytes, (size_t)(end - bytes));
	/* Of blocks that the input does not have there are no pages. */
	if ((uint64_t)in->map.blocks * in->map.pages < in->pages)
		in->pages = (uint64_t)in->map.blocks * in->map.pages;
	return true;
}

/* From the last page to the first; what can be read is noted. */
static void read_backwards(struct input *in, uint8_t *pages, bool *good)
{
	struct block_reader *b = block_reader_new(&in->map, in->pages, in->fd);

	require(b, "no memory");
	for (uint64_t n = in->pages; n-- > 0;) {
		int r = block_reader_read(b, n, 1, pages + n * PAGE_SIZE);

		require(r == 0 || r == -EBADMSG, "a failure of its own");
		good[n] = r == 0;
		require(n + 1 == in->pages || (n + 1) % in->map.pages == 0 || good[n] == good[n + 1], "half a block");
	}
	block_reader_free(b);
}

static void read_whole(struct input *in, const uint8_t *pages, const bool *good)
{
	uint8_t *again = malloc(in->pages * PAGE_SIZE + 1);
	struct block_reader *b = block_reader_new(&in->map, in->pages, in->fd);
	bool all = true;

	require(again && b, "no memory");
	for (uint64_t n = 0; n < in->pages; n++)
		all = all && good[n];
	require((block_reader_read(b, 0, in->pages, again) == 0) == all, "good in one order, bad in another");
	require(!all || !memcmp(again, pages, in->pages * PAGE_SIZE), "other pages in another order");
	block_reader_free(b);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in;
	uint8_t *pages;
	bool *good;

	if (!take_input(&in, bytes, size))
		return 0;
	pages = malloc(in.pages * PAGE_SIZE + 1);
	good = calloc(in.pages + 1, sizeof(*good));
	require(pages && good, "no memory");
	read_backwards(&in, pages, good);
	read_whole(&in, pages, good);
	free(pages);
	free(good);
	block_map_free(&in.map);
	close(in.fd);
	return 0;
}
