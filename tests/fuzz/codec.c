/*
 * Fuzz target: any bytes as a compressed page or as a delta, and as a page that is to be compressed. Bytes are a page or are refused, the
 * same however often and after whatever else; a page comes back as it was.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dedup/codec.h"
#include "tests/fuzz/target.h"
#include "vmm/mem.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz codec: %s\n", what);
	abort();
}

static struct codec *codec;
static uint8_t *page, *reference, *back;

/* A page between two that nobody may touch: the library is not built for a sanitizer. */
static uint8_t *fenced(void)
{
	uint8_t *all = mmap(NULL, 3 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	require(all != MAP_FAILED && !mprotect(all + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), "no memory");
	return all + PAGE_SIZE;
}

static void start(void)
{
	if (codec)
		return;
	codec = codec_create();
	require(codec, "no memory");
	page = fenced();
	reference = fenced();
	back = fenced();
}

static int unpack(bool delta, const uint8_t *bytes, unsigned int size, uint8_t before)
{
	memset(back, before, PAGE_SIZE);
	return delta ? codec_page_delta(bytes, size, reference, back) : codec_page_alone(bytes, size, back);
}

/* The bytes lie where a page ends. */
static void unpack_any(bool delta, const uint8_t *bytes, unsigned int size)
{
	uint8_t first[PAGE_SIZE], *at = page + PAGE_SIZE - size;
	int result;

	memmove(at, bytes, size);
	result = unpack(delta, at, size, 0x11);
	require(result == 0 || result == -EBADMSG, "a failure of its own");
	memcpy(first, back, PAGE_SIZE);
	unpack(!delta, at, size, 0x22);
	require(unpack(delta, at, size, 0xee) == result, "another result");
	require(result < 0 || !memcmp(first, back, PAGE_SIZE), "another page");
}

/* The input again and again, with a byte that changes in between. */
static void fill(uint8_t *p, const uint8_t *bytes, size_t size, uint8_t step)
{
	for (size_t i = 0; i < PAGE_SIZE; i++)
		p[i] = (uint8_t)(bytes[i % size] + i / size * step);
}

static void round_trip(bool delta)
{
	uint8_t bytes[CODEC_MOST];
	unsigned int size = delta ? codec_delta(codec, page, reference, bytes, CODEC_MOST) : codec_alone(codec, page, bytes, CODEC_MOST);

	require(size <= CODEC_MOST, "more than allowed");
	if (!size)
		return;
	require(unpack(delta, bytes, size, 0x33) == 0, "refused what it made");
	require(!memcmp(back, page, PAGE_SIZE), "not the page that it was");
}

/* Which way, how reference and page differ, and the bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size < 4 || size > CODEC_MOST)
		return 0;
	start();
	fill(reference, bytes + 3, size - 3, bytes[1]);
	unpack_any(bytes[0] & 1, bytes + 3, (unsigned int)size - 3);
	fill(page, bytes + 3, size - 3, bytes[2]);
	round_trip(false);
	round_trip(true);
	return 0;
}
