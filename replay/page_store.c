#include "replay/page_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "vmm/ensure.h"
#include "vmm/mem.h"

#define LEVEL 1
#define FIRST_BUCKETS 1024u
#define OVERHEAD 16u /* of an allocation, about */

static uint64_t cost(const struct page_content *c)
{
	return sizeof(*c) + c->size + OVERHEAD;
}

int page_store_init(struct page_store *s)
{
	*s = (struct page_store){
		.bucket = calloc(FIRST_BUCKETS, sizeof(struct page_content *)),
		.buckets = FIRST_BUCKETS,
		.bytes = FIRST_BUCKETS * sizeof(struct page_content *),
		.pack = ZSTD_createCCtx(),
		.unpack = ZSTD_createDCtx(),
	};
	if (s->bucket && s->pack && s->unpack)
		return 0;
	page_store_destroy(s);
	return -ENOMEM;
}

void page_store_destroy(struct page_store *s)
{
	ensure(!s->count);
	ZSTD_freeCCtx(s->pack);
	ZSTD_freeDCtx(s->unpack);
	free(s->bucket);
}

static struct page_content **place(struct page_store *s, uint64_t hash)
{
	return &s->bucket[hash & (s->buckets - 1)];
}

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

/* Returns how many bytes, or -ENOMEM. */
static int64_t pack(struct page_store *s, const void *page, uint8_t *to)
{
	size_t n;

	if (is_zero(page))
		return 0;
	n = ZSTD_compressCCtx(s->pack, to, PAGE_SIZE - 1, page, PAGE_SIZE, LEVEL);
	if (!ZSTD_isError(n))
		return (int64_t)n;
	if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
		return -ENOMEM;
	memcpy(to, page, PAGE_SIZE);
	return PAGE_SIZE;
}

void page_store_out(struct page_store *s, const struct page_content *c, void *page)
{
	if (!c->size)
		memset(page, 0, PAGE_SIZE);
	else if (c->size == PAGE_SIZE)
		memcpy(page, c->bytes, PAGE_SIZE);
	else
		ensure(ZSTD_decompressDCtx(s->unpack, page, PAGE_SIZE, c->bytes, c->size) == PAGE_SIZE);
}

static bool is_same(struct page_store *s, const struct page_content *c, uint64_t hash, const void *page)
{
	uint8_t plain[PAGE_SIZE];

	if (c->hash != hash)
		return false;
	page_store_out(s, c, plain);
	return !memcmp(plain, page, PAGE_SIZE);
}

bool page_store_is(struct page_store *s, const struct page_content *c, const void *page)
{
	return is_same(s, c, XXH3_64bits(page, PAGE_SIZE), page);
}

/* Twice as many buckets. Without memory for that they stay as they are, and chains get longer. */
static void grow(struct page_store *s)
{
	struct page_content **old = s->bucket, **more = calloc(2 * s->buckets, sizeof(*more));
	uint64_t count = s->buckets;

	if (!more)
		return;
	s->bucket = more;
	s->buckets = 2 * count;
	s->bytes += count * sizeof(*more);
	for (uint64_t i = 0; i < count; i++) {
		for (struct page_content *c = old[i], *next; c; c = next) {
			next = c->next;
			c->next = *place(s, c->hash);
			*place(s, c->hash) = c;
		}
	}
	free(old);
}

static struct page_content *add(struct page_store *s, uint64_t hash, const void *page)
{
	uint8_t packed[PAGE_SIZE];
	int64_t size = pack(s, page, packed);
	struct page_content *c = size < 0 ? NULL : malloc(sizeof(*c) + (size_t)size);

	if (!c)
		return NULL;
	if (s->count >= s->buckets)
		grow(s);
	*c = (struct page_content){.next = *place(s, hash), .hash = hash, .refs = 1, .size = (uint32_t)size};
	memcpy(c->bytes, packed, (size_t)size);
	*place(s, hash) = c;
	s->count++;
	s->bytes += cost(c);
	return c;
}

struct page_content *page_store_keep(struct page_store *s, const void *page)
{
	uint64_t hash = XXH3_64bits(page, PAGE_SIZE);

	for (struct page_content *c = *place(s, hash); c; c = c->next) {
		if (is_same(s, c, hash, page)) {
			c->refs++;
			return c;
		}
	}
	return add(s, hash, page);
}

void page_store_drop(struct page_store *s, struct page_content *c)
{
	struct page_content **at = place(s, c->hash);

	if (--c->refs)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	s->count--;
	s->bytes -= cost(c);
	free(c);
}
