/*
 * codecs [--pages N]
 *
 * What libraries make of a page alone, and of a page beside one that it resembles: bytes, and nanoseconds there and back, for
 * pages of several kinds. It is what the choice in dedup/codec.c rests on, which is measured beside them.
 */
#include <argp.h>
#include <err.h>
#include <fcntl.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "dedup/codec.h"
#include "tests/unit/random.h"
#include "vmm/mem.h"

#define DEFAULT_PAGES 512
#define ROUNDS 9 /* the quickest counts: what else runs only adds */
#define WORDS (PAGE_SIZE / sizeof(uint64_t))

struct sample {
	unsigned int pages;
	uint8_t (*page)[PAGE_SIZE], (*reference)[PAGE_SIZE];
	struct random random;
};

/* Processor time: what else runs takes from that, too, but less. */
static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		errx(1, "out of memory");
	return p;
}

static void fill_random(struct sample *s, uint8_t *page)
{
	for (size_t i = 0; i < PAGE_SIZE; i += 8) {
		uint64_t word = random_next(&s->random);

		memcpy(page + i, &word, 8);
	}
}

/* Pages of this program's file, which has the libraries in it. */
static void fill_code(struct sample *s, uint8_t *page)
{
	static int fd = -1;
	static off_t pages;

	if (fd < 0) {
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		pages = lseek(fd, 0, SEEK_END) / (off_t)PAGE_SIZE;
	}
	if (pages < 1 || pread(fd, page, PAGE_SIZE, (off_t)(random_below(&s->random, (uint64_t)pages) * PAGE_SIZE)) != (ssize_t)PAGE_SIZE)
		err(1, "/proc/self/exe");
}

/* The number of a word: the first ones are the most frequent. */
static uint64_t zipf(struct random *r)
{
	return random_below(r, 1 + random_below(r, 1 + random_below(r, 5000)));
}

/* Words of a small language. */
static void fill_text(struct sample *s, uint8_t *page)
{
	char word[16];

	for (size_t at = 0; at < PAGE_SIZE;) {
		struct random w = {zipf(&s->random)};
		size_t n = 1 + random_below(&w, 9);

		for (size_t i = 0; i < n; i++)
			word[i] = (char)('a' + random_below(&w, 26));
		word[n++] = ' ';
		n = n < PAGE_SIZE - at ? n : PAGE_SIZE - at;
		memcpy(page + at, word, n);
		at += n;
	}
}

/* A heap: small numbers, pointers into one area, zeros. */
static void fill_heap(struct sample *s, uint8_t *page)
{
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word = 0;

		switch (random_below(&s->random, 4)) {
		case 0: word = 0x7f1234560000 + random_below(&s->random, 1 << 16) * 16; break;
		case 1: word = random_below(&s->random, 256); break;
		case 2: word = random_next(&s->random) >> random_below(&s->random, 64); break;
		default: break;
		}
		memcpy(page + i * 8, &word, 8);
	}
}

static void change_words(struct sample *s, uint8_t *page, unsigned int words)
{
	while (words--) {
		uint64_t word = random_next(&s->random);

		memcpy(page + random_below(&s->random, WORDS) * 8, &word, 8);
	}
}

static void make_few(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_heap(s, reference);
	memcpy(page, reference, PAGE_SIZE);
	change_words(s, page, 4);
}

static void make_many(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_heap(s, reference);
	memcpy(page, reference, PAGE_SIZE);
	change_words(s, page, 60);
}

/* Two processes whose areas begin elsewhere. */
static void make_relocated(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_heap(s, reference);
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word;

		memcpy(&word, reference + i * 8, 8);
		word += word >> 40 == 0x7f ? 0x11c2a3000 : 0;
		memcpy(page + i * 8, &word, 8);
	}
}

static void make_shifted(struct sample *s, uint8_t *page, uint8_t *reference)
{
	size_t shift = 8 + 8 * random_below(&s->random, 16);

	fill_heap(s, reference);
	memcpy(page + shift, reference, PAGE_SIZE - shift);
	fill_random(s, reference);
	memcpy(page, reference, shift);
	memcpy(reference, page + shift, PAGE_SIZE - shift);
}

static void make_code(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_code(s, page);
	fill_code(s, reference);
}

static void make_text(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_text(s, page);
	fill_text(s, reference);
}

static void make_sparse(struct sample *s, uint8_t *page, uint8_t *reference)
{
	memset(page, 0, PAGE_SIZE);
	memset(reference, 0, PAGE_SIZE);
	change_words(s, page, 8);
	change_words(s, reference, 8);
}

static void make_random(struct sample *s, uint8_t *page, uint8_t *reference)
{
	fill_random(s, page);
	fill_random(s, reference);
}

static const struct kind {
	const char *name;
	void (*make)(struct sample *s, uint8_t *page, uint8_t *reference);
} kinds[] = {
	{"4 words differ", make_few},	  {"60 words differ", make_many}, {"pointers differ", make_relocated},
	{"shifted", make_shifted},	  {"text", make_text},		  {"code", make_code},
	{"8 words not zero", make_sparse}, {"random", make_random},
};

static int lz4_pack(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return LZ4_compress_default((const char *)page, (char *)out, PAGE_SIZE, most);
}

static bool lz4_unpack(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	return LZ4_decompress_safe((const char *)in, (char *)page, size, PAGE_SIZE) == (int)PAGE_SIZE;
}

static LZ4_streamHC_t *hc;

static int hc_pack(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	LZ4_resetStreamHC_fast(hc, LZ4HC_CLEVEL_MIN);
	return LZ4_compress_HC_continue(hc, (const char *)page, (char *)out, PAGE_SIZE, most);
}

static int hc_dict_pack(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	LZ4_resetStreamHC_fast(hc, LZ4HC_CLEVEL_MIN);
	LZ4_loadDictHC(hc, (const char *)reference, PAGE_SIZE);
	return LZ4_compress_HC_continue(hc, (const char *)page, (char *)out, PAGE_SIZE, most);
}

static void xor_pages(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
	for (size_t i = 0; i < PAGE_SIZE; i += 8) {
		uint64_t x, y;

		memcpy(&x, a + i, 8);
		memcpy(&y, b + i, 8);
		x ^= y;
		memcpy(out + i, &x, 8);
	}
}

static int xor_pack(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	uint8_t both[PAGE_SIZE];

	xor_pages(page, reference, both);
	return lz4_pack(both, NULL, out, most);
}

static bool xor_unpack(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	bool ok = lz4_unpack(in, size, NULL, page);

	xor_pages(page, reference, page);
	return ok;
}

static int dict_pack(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	LZ4_stream_t stream;

	LZ4_initStream(&stream, sizeof(stream));
	LZ4_loadDict(&stream, (const char *)reference, PAGE_SIZE);
	return LZ4_compress_fast_continue(&stream, (const char *)page, (char *)out, PAGE_SIZE, most, 1);
}

static bool dict_unpack(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	return LZ4_decompress_safe_usingDict((const char *)in, (char *)page, size, PAGE_SIZE, (const char *)reference, PAGE_SIZE) ==
		(int)PAGE_SIZE;
}

static struct codec *ours;
static ZSTD_CCtx *zstd_c;
static ZSTD_DCtx *zstd_d;

static int zstd_pack_at(int level, const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	size_t size;

	ZSTD_CCtx_reset(zstd_c, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(zstd_c, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(zstd_c, ZSTD_c_format, ZSTD_f_zstd1_magicless);
	ZSTD_CCtx_setParameter(zstd_c, ZSTD_c_contentSizeFlag, 0);
	if (reference)
		ZSTD_CCtx_refPrefix(zstd_c, reference, PAGE_SIZE);
	size = ZSTD_compress2(zstd_c, out, (size_t)most, page, PAGE_SIZE);
	return ZSTD_isError(size) ? 0 : (int)size;
}

static bool zstd_unpack_ref(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	ZSTD_DCtx_reset(zstd_d, ZSTD_reset_session_and_parameters);
	ZSTD_DCtx_setParameter(zstd_d, ZSTD_d_format, ZSTD_f_zstd1_magicless);
	if (reference)
		ZSTD_DCtx_refPrefix(zstd_d, reference, PAGE_SIZE);
	return ZSTD_decompressDCtx(zstd_d, page, PAGE_SIZE, in, (size_t)size) == PAGE_SIZE;
}

static bool zstd_unpack(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	return zstd_unpack_ref(in, size, NULL, page);
}

static int zstd_fast(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return zstd_pack_at(-1, page, NULL, out, most);
}

static int zstd_1(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return zstd_pack_at(1, page, NULL, out, most);
}

static int zstd_fast_ref(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return zstd_pack_at(-1, page, reference, out, most);
}

static int zstd_1_ref(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return zstd_pack_at(1, page, reference, out, most);
}

static int ours_alone(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return (int)codec_alone(ours, page, out, (unsigned int)most);
}

static bool ours_page_alone(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	return codec_page_alone(in, (unsigned int)size, page) == 0;
}

static int ours_delta(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most)
{
	return (int)codec_delta(ours, page, reference, out, (unsigned int)most);
}

static bool ours_page_delta(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page)
{
	return codec_page_delta(in, (unsigned int)size, reference, page) == 0;
}

static const struct method {
	const char *name;
	int (*pack)(const uint8_t *page, const uint8_t *reference, uint8_t *out, int most); /* 0: more than `most` */
	bool (*unpack)(const uint8_t *in, int size, const uint8_t *reference, uint8_t *page);
} methods[] = {
	{"LZ4", lz4_pack, lz4_unpack},
	{"LZ4 HC", hc_pack, lz4_unpack},
	{"zstd -1", zstd_fast, zstd_unpack},
	{"zstd 1", zstd_1, zstd_unpack},
	{"**ours, alone**", ours_alone, ours_page_alone},
	{"XOR, LZ4", xor_pack, xor_unpack},
	{"LZ4, dictionary", dict_pack, dict_unpack},
	{"LZ4 HC, dictionary", hc_dict_pack, dict_unpack},
	{"zstd -1, prefix", zstd_fast_ref, zstd_unpack_ref},
	{"zstd 1, prefix", zstd_1_ref, zstd_unpack_ref},
	{"**ours, delta**", ours_delta, ours_page_delta},
};

struct packed {
	int size;
	uint8_t byte[CODEC_MOST];
};

static double pack_ns(const struct method *m, const struct sample *s, struct packed *out)
{
	double start = now_ns();

	for (unsigned int i = 0; i < s->pages; i++)
		out[i].size = m->pack(s->page[i], s->reference[i], out[i].byte, CODEC_MOST);
	return (now_ns() - start) / s->pages;
}

/* Of those that were worth it; 0 = none was. */
static double unpack_ns(const struct method *m, const struct sample *s, const struct packed *in)
{
	double start = now_ns();
	uint8_t page[PAGE_SIZE];
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->pages; i++) {
		if (!in[i].size)
			continue;
		if (!m->unpack(in[i].byte, in[i].size, s->reference[i], page))
			errx(1, "%s: cannot be unpacked", m->name);
		n++;
	}
	return n ? (now_ns() - start) / n : 0;
}

/* A page that was not worth it is kept as it is. */
static double ratio(const struct sample *s, const struct packed *in)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < s->pages; i++)
		bytes += in[i].size ? (uint64_t)in[i].size : PAGE_SIZE;
	return (double)s->pages * PAGE_SIZE / (double)bytes;
}

static void measure(const struct method *m, const struct sample *s, const char *kind)
{
	struct packed *packed = alloc(s->pages, sizeof(*packed));
	double pack = 1e12, unpack = 1e12, ns;

	for (int i = 0; i < ROUNDS; i++) {
		ns = pack_ns(m, s, packed);
		pack = ns < pack ? ns : pack;
		ns = unpack_ns(m, s, packed);
		unpack = ns < unpack ? ns : unpack;
	}
	printf("| %s | %s | %.2f | %.0f | %.0f |\n", kind, m->name, ratio(s, packed), pack, unpack);
	free(packed);
}

static void measure_kind(const struct kind *k, struct sample *s)
{
	for (unsigned int i = 0; i < s->pages; i++)
		k->make(s, s->page[i], s->reference[i]);
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		measure(&methods[i], s, k->name);
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct sample *s = state->input;

	if (key != 'p')
		return ARGP_ERR_UNKNOWN;
	s->pages = (unsigned int)strtoul(arg, NULL, 10);
	if (!s->pages || s->pages > 1u << 20)
		errx(1, "--pages=%s: give a number from 1 to %u", arg, 1u << 20);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"pages", 'p', "N", 0, "Of each kind (default: 512)", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options, .parser = on_key, .doc = "Measure what compresses a page of guest memory, and how well.",
	};
	struct sample s = {.pages = DEFAULT_PAGES, .random = {1}};

	if (argp_parse(&argp, argc, argv, 0, NULL, &s))
		return 1;
	s.page = alloc(s.pages, sizeof(*s.page));
	s.reference = alloc(s.pages, sizeof(*s.reference));
	zstd_c = ZSTD_createCCtx();
	zstd_d = ZSTD_createDCtx();
	hc = LZ4_createStreamHC();
	ours = codec_create();
	if (!zstd_c || !zstd_d || !hc || !ours)
		errx(1, "out of memory");
	printf("| pages | codec | ratio | ns there | ns back |\n|---|---|---:|---:|---:|\n");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		measure_kind(&kinds[i], &s);
	codec_destroy(ours);
	LZ4_freeStreamHC(hc);
	ZSTD_freeCCtx(zstd_c);
	ZSTD_freeDCtx(zstd_d);
	free(s.page);
	free(s.reference);
	return 0;
}
