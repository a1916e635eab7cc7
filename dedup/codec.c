#include "dedup/codec.h"

#include <errno.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/mem.h"

/*
 * A guest waits for the way back, so that is what decides: LZ4 takes 1.5 us for it, zstd 6, and twice that in a guest's fault, where caches
 * are cold; a bare fault takes 6. Of 10,000 pages of programs and their files LZ4 HC makes 64 % less, zstd would make 73 %; of 8,000 that
 * resemble another 870 bytes, with that one as a dictionary, zstd 660. tests/bench/codecs.c measures the like.
 *
 * LZ4 HC takes four times as long as LZ4, so that says first what is worth it: nothing that does not shrink at all, nor what is
 * small already.
 */
#define LEVEL LZ4HC_CLEVEL_MIN /* more takes longer, for a percent */
#define SMALL 256
#define HOPEFUL (CODEC_MOST + CODEC_MOST / 4) /* LZ4 HC may make CODEC_MOST of it */

struct codec {
	LZ4_stream_t quick;
	LZ4_streamHC_t slow;
	char packed[HOPEFUL]; /* on its way */
};

struct codec *codec_create(void)
{
	struct codec *c = calloc(1, sizeof(*c));

	if (!c) {
		log_errno(ENOMEM, "compression of pages");
		return NULL;
	}
	LZ4_initStream(&c->quick, sizeof(c->quick));
	LZ4_initStreamHC(&c->slow, sizeof(c->slow));
	return c;
}

void codec_destroy(struct codec *c)
{
	free(c);
}

/* Loading a dictionary, an empty one, too, forgets what was before. */
static int pack_quickly(struct codec *c, const char *page, const char *reference)
{
	LZ4_loadDict(&c->quick, reference, reference ? PAGE_SIZE : 0);
	return LZ4_compress_fast_continue(&c->quick, page, c->packed, PAGE_SIZE, HOPEFUL, 1);
}

static int pack_slowly(struct codec *c, const char *page, const char *reference)
{
	LZ4_resetStreamHC_fast(&c->slow, LEVEL);
	if (reference)
		LZ4_loadDictHC(&c->slow, reference, PAGE_SIZE);
	return LZ4_compress_HC_continue(&c->slow, page, c->packed, PAGE_SIZE, CODEC_MOST);
}

static unsigned int pack(struct codec *c, const void *page, const void *reference, void *out, unsigned int most)
{
	int size = pack_quickly(c, page, reference);

	if (size > SMALL)
		size = pack_slowly(c, page, reference);
	if (size > (int)most)
		return 0;
	memcpy(out, c->packed, (size_t)size);
	return (unsigned int)size;
}

unsigned int codec_alone(struct codec *c, const void *page, void *out, unsigned int most)
{
	return pack(c, page, NULL, out, most);
}

unsigned int codec_delta(struct codec *c, const void *page, const void *reference, void *out, unsigned int most)
{
	return pack(c, page, reference, out, most);
}

/*
 * A match at distance 0, which LZ4 never makes, would be what the page held before (1.9.4): zeros, so that the same always comes of the
 * same bytes.
 */
static int unpack(const void *bytes, unsigned int size, const void *reference, void *page)
{
	int made;

	memset(page, 0, PAGE_SIZE);
	made = LZ4_decompress_safe_usingDict(bytes, page, (int)size, PAGE_SIZE, reference, reference ? PAGE_SIZE : 0);
	return made == (int)PAGE_SIZE ? 0 : -EBADMSG;
}

int codec_page_alone(const void *bytes, unsigned int size, void *page)
{
	return size <= CODEC_MOST ? unpack(bytes, size, NULL, page) : -EBADMSG;
}

int codec_page_delta(const void *bytes, unsigned int size, const void *reference, void *page)
{
	return size <= CODEC_MOST ? unpack(bytes, size, reference, page) : -EBADMSG;
}
