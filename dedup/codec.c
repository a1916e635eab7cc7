#include "dedup/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/mem.h"

/*
 * Of the pages of two Linux guests that were neither zero nor equal, zstd makes 1460 bytes on average (95 % of them below CODEC_MOST),
 * LZ4 2080 (81 %); of those that resemble another, with it as a prefix, zstd makes 470, LZ4 700 with a dictionary and 760 of the XOR of
 * both. It takes two to three times as long there, and 4 us more back; next to the fault itself that is little, and memory is what all
 * this is for. A prefix finds what has moved, which no XOR does. Level -1 would take two thirds of the time for 1650 and 480 bytes.
 * tests/bench/codecs.c measures the like.
 *
 * What zstd works with is set up once, because that asks the processor what it can (CPUID), which costs 15 us inside a virtual machine.
 */
static const ZSTD_compressionParameters parameters = {
	.windowLog = PAGE_SHIFT + 1, /* a page and the one it resembles */
	.chainLog = ZSTD_CHAINLOG_MIN,
	.hashLog = 12,
	.searchLog = ZSTD_SEARCHLOG_MIN,
	.minMatch = 4,
	.strategy = ZSTD_fast,
};

struct codec {
	ZSTD_CCtx *packer;
	ZSTD_DCtx *unpacker;
	void *prefix; /* room for what zstd knows of a reference */
	size_t prefix_bytes;
	uint8_t packed[ZSTD_COMPRESSBOUND(PAGE_SIZE)]; /* on its way */
	_Alignas(16) uint8_t room[];
};

static size_t aligned(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

static void set(ZSTD_CCtx *c, ZSTD_cParameter parameter, unsigned int value)
{
	size_t r = ZSTD_CCtx_setParameter(c, parameter, (int)value);

	ensure(!ZSTD_isError(r));
}

/* No magic number and no size: it is known what comes. */
static void set_up_packer(struct codec *c, size_t bytes)
{
	c->packer = ZSTD_initStaticCCtx(c->room, bytes);
	ensure(c->packer);
	set(c->packer, ZSTD_c_format, ZSTD_f_zstd1_magicless);
	set(c->packer, ZSTD_c_contentSizeFlag, 0);
	set(c->packer, ZSTD_c_windowLog, parameters.windowLog);
	set(c->packer, ZSTD_c_chainLog, parameters.chainLog);
	set(c->packer, ZSTD_c_hashLog, parameters.hashLog);
	set(c->packer, ZSTD_c_searchLog, parameters.searchLog);
	set(c->packer, ZSTD_c_minMatch, parameters.minMatch);
	set(c->packer, ZSTD_c_targetLength, parameters.targetLength);
	set(c->packer, ZSTD_c_strategy, parameters.strategy);
}

static void set_up_unpacker(struct codec *c, void *room, size_t bytes)
{
	size_t r;

	c->unpacker = ZSTD_initStaticDCtx(room, bytes);
	ensure(c->unpacker);
	r = ZSTD_DCtx_setParameter(c->unpacker, ZSTD_d_format, ZSTD_f_zstd1_magicless);
	ensure(!ZSTD_isError(r));
}

struct codec *codec_create(void)
{
	size_t packer = aligned(ZSTD_estimateCCtxSize_usingCParams(parameters)), unpacker = aligned(ZSTD_estimateDCtxSize());
	size_t prefix = ZSTD_estimateDDictSize(PAGE_SIZE, ZSTD_dlm_byRef);
	struct codec *c = malloc(sizeof(*c) + packer + unpacker + prefix);

	if (!c) {
		log_errno(ENOMEM, "compression of pages");
		return NULL;
	}
	set_up_packer(c, packer);
	set_up_unpacker(c, c->room + packer, unpacker);
	c->prefix = c->room + packer + unpacker;
	c->prefix_bytes = prefix;
	return c;
}

void codec_destroy(struct codec *c)
{
	free(c);
}

/* zstd wants more room than what it makes has; so it is made elsewhere, and `most` is exact. */
static unsigned int pack(struct codec *c, const void *page, void *out, unsigned int most)
{
	size_t size = ZSTD_compress2(c->packer, c->packed, sizeof(c->packed), page, PAGE_SIZE);

	ensure(!ZSTD_isError(size));
	if (size > most)
		return 0;
	memcpy(out, c->packed, size);
	return (unsigned int)size;
}

unsigned int codec_alone(struct codec *c, const void *page, void *out, unsigned int most)
{
	return pack(c, page, out, most);
}

/* A prefix counts for the next page only. */
unsigned int codec_delta(struct codec *c, const void *page, const void *reference, void *out, unsigned int most)
{
	size_t r = ZSTD_CCtx_refPrefix(c->packer, reference, PAGE_SIZE);

	ensure(!ZSTD_isError(r));
	return pack(c, page, out, most);
}

/*
 * zstd (1.5.4) takes for granted that four bytes can be read where there is one at least. So what it gets has some behind it, always the
 * same.
 */
static size_t padded(struct codec *c, const void *bytes, unsigned int size)
{
	size = size <= CODEC_MOST ? size : 0;
	memcpy(c->packed, bytes, size);
	memset(c->packed + size, 0, sizeof(uint32_t));
	return size;
}

_Static_assert(CODEC_MOST + sizeof(uint32_t) <= ZSTD_COMPRESSBOUND(PAGE_SIZE), "room for them");

/*
 * zstd has two decoders, for a prefix that it used last and for another, and they agree only on what is right. So it forgets the last one
 * first; and no prefix is an empty one.
 */
static int unpack(struct codec *c, const void *bytes, unsigned int size, const void *reference, size_t reference_size, void *page)
{
	const ZSTD_DDict *prefix = ZSTD_initStaticDDict(c->prefix, c->prefix_bytes, reference, reference_size, ZSTD_dlm_byRef,
							ZSTD_dct_rawContent);
	size_t r = ZSTD_decompressBegin(c->unpacker), n = padded(c, bytes, size);

	ensure(prefix && !ZSTD_isError(r));
	return ZSTD_decompress_usingDDict(c->unpacker, page, PAGE_SIZE, c->packed, n, prefix) == PAGE_SIZE ? 0 : -EBADMSG;
}

int codec_page_alone(struct codec *c, const void *bytes, unsigned int size, void *page)
{
	return unpack(c, bytes, size, NULL, 0, page);
}

int codec_page_delta(struct codec *c, const void *bytes, unsigned int size, const void *reference, void *page)
{
	return unpack(c, bytes, size, reference, PAGE_SIZE, page);
}
