/* Pages of many kinds there and back, exactly as many bytes as are allowed, and any bytes on the way back. */
#include "dedup/codec.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define WORDS (PAGE_SIZE / sizeof(uint64_t))
#define ROUNDS 4000u
#define HOSTILE 30000u

struct page {
	uint64_t word[WORDS];
};

/*
 * Each ends where memory ends, and begins where it begins but for `in`. So a byte read or written outside is fatal even in a library
 * that no sanitizer knows.
 */
struct rig {
	struct random random;
	struct codec *codec;
	struct page *page, *reference, *back;
	uint8_t *in; /* the end of CODEC_MOST bytes */
};

static struct rig r;

static void *fenced(void)
{
	uint8_t *all = mmap(NULL, 3 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(all != MAP_FAILED);
	ck_assert_int_eq(mprotect(all + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	return all + PAGE_SIZE;
}

static void start(const char *name)
{
	r.random = random_start(name);
	r.codec = codec_create();
	ck_assert_ptr_nonnull(r.codec);
	r.page = fenced();
	r.reference = fenced();
	r.back = fenced();
	r.in = (uint8_t *)fenced() + PAGE_SIZE;
}

static void end(void)
{
	void *const begin[] = {r.page, r.reference, r.back, r.in - PAGE_SIZE};

	for (unsigned int i = 0; i < 4; i++)
		munmap((uint8_t *)begin[i] - PAGE_SIZE, 3 * PAGE_SIZE);
	codec_destroy(r.codec);
}

static void fill_random(struct page *p)
{
	for (unsigned int i = 0; i < WORDS; i++)
		p->word[i] = random_next(&r.random);
}

static void fill_sparse(struct page *p)
{
	memset(p, 0, sizeof(*p));
	for (uint64_t n = random_below(&r.random, 100); n; n--)
		p->word[random_below(&r.random, WORDS)] = random_next(&r.random) >> random_below(&r.random, 64);
}

/* Few different words, again and again. */
static void fill_words(struct page *p)
{
	uint64_t words = 1 + random_below(&r.random, 200), first = random_next(&r.random);

	for (unsigned int i = 0; i < WORDS; i++) {
		struct random word = {first + random_below(&r.random, words)};

		p->word[i] = random_next(&word);
	}
}

static void fill_bytes(struct page *p)
{
	uint8_t *byte = (uint8_t *)p->word;
	uint64_t letters = 1 + random_below(&r.random, 256);

	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		byte[i] = (uint8_t)random_below(&r.random, 1 + random_below(&r.random, letters));
}

/* What a library takes for its own when a reference begins with it. */
static void fill_magic(struct page *p)
{
	fill_bytes(p);
	p->word[0] = 0x1ec30a437;
}

static void (*const kinds[])(struct page *p) = {fill_random, fill_sparse, fill_words, fill_bytes, fill_magic};

static void fill(struct page *p)
{
	kinds[random_below(&r.random, sizeof(kinds) / sizeof(*kinds))](p);
}

/* The reference with some words changed, shifted, or something else. */
static void resemble(void)
{
	uint64_t shift = random_below(&r.random, PAGE_SIZE);

	*r.page = *r.reference;
	switch (random_below(&r.random, 4)) {
	case 0:
		fill(r.page);
		break;
	case 1:
		memcpy(r.page, (uint8_t *)r.reference + shift, PAGE_SIZE - shift);
		break;
	default:
		for (uint64_t n = random_below(&r.random, 1 + random_below(&r.random, 300)); n; n--)
			r.page->word[random_below(&r.random, WORDS)] = random_next(&r.random);
	}
}

static unsigned int pack(bool delta, void *out, unsigned int most)
{
	return delta ? codec_delta(r.codec, r.page, r.reference, out, most) : codec_alone(r.codec, r.page, out, most);
}

/* The bytes are put where memory ends. */
static int unpack(bool delta, const void *bytes, unsigned int size)
{
	uint8_t *at = r.in - size;

	memmove(at, bytes, size);
	return delta ? codec_page_delta(at, size, r.reference, r.back) : codec_page_alone(at, size, r.back);
}

/* There with exactly the bytes that it needs, not with one less, and back. Returns its size. */
static unsigned int round_trip(bool delta)
{
	uint8_t bytes[CODEC_MOST], again[CODEC_MOST + 1];
	unsigned int size = pack(delta, bytes, CODEC_MOST);

	expect(size <= CODEC_MOST);
	if (!size)
		return 0;
	memset(again, 0xa5, sizeof(again));
	expect_eq(pack(delta, again, size - 1), 0);
	expect_eq(pack(delta, again, size), size);
	expect(!memcmp(bytes, again, size) && again[size] == 0xa5);
	fill_random(r.back);
	expect_eq(unpack(delta, bytes, size), 0);
	expect(!memcmp(r.back, r.page, PAGE_SIZE));
	return size;
}

START_TEST(there_and_back)
{
	unsigned int alone = 0, delta = 0;

	start("there_and_back");
	for (unsigned int i = 0; i < ROUNDS; i++) {
		fill(r.reference);
		resemble();
		alone += round_trip(false) != 0;
		delta += round_trip(true) != 0;
	}
	/* Nearly all but random ones, and those whose reference was. */
	ck_assert_uint_ge(alone, ROUNDS / 4);
	ck_assert_uint_ge(delta, ROUNDS / 2);
	end();
}
END_TEST

/* What was done before does not show: another that begins anew makes the same bytes. */
START_TEST(same_bytes)
{
	uint8_t bytes[CODEC_MOST], again[CODEC_MOST];
	struct codec *used;

	start("same_bytes");
	used = r.codec;
	for (unsigned int i = 0; i < 300; i++) {
		bool delta = random_below(&r.random, 2);
		unsigned int size;

		fill(r.reference);
		resemble();
		r.codec = used;
		pack(!delta, again, (unsigned int)random_below(&r.random, CODEC_MOST));
		size = pack(delta, bytes, CODEC_MOST);
		r.codec = codec_create();
		expect_eq(pack(delta, again, CODEC_MOST), size);
		expect(!memcmp(bytes, again, size));
		codec_destroy(r.codec);
	}
	r.codec = used;
	end();
}
END_TEST

static unsigned int delta_size(void)
{
	uint8_t bytes[CODEC_MOST];

	return pack(true, bytes, CODEC_MOST);
}

/* A reference is worth it: where few words differ, where all has moved by some bytes, where it is the same. */
START_TEST(small_deltas)
{
	start("small_deltas");
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int shift = 1 + (unsigned int)random_below(&r.random, 256);

		fill_random(r.reference);
		*r.page = *r.reference;
		expect(delta_size() && delta_size() <= 32);
		for (unsigned int n = 0; n < 4; n++)
			r.page->word[random_below(&r.random, WORDS)] = random_next(&r.random);
		expect(delta_size() && delta_size() <= 128);
		memcpy(r.page, (uint8_t *)r.reference + shift, PAGE_SIZE - shift);
		expect(delta_size() && delta_size() <= 64 + shift);
	}
	end();
}
END_TEST

START_TEST(no_gain)
{
	uint8_t bytes[CODEC_MOST];

	start("no_gain");
	for (unsigned int i = 0; i < 300; i++) {
		fill_random(r.page);
		fill_random(r.reference);
		expect_eq(pack(false, bytes, CODEC_MOST), 0);
		expect_eq(pack(true, bytes, CODEC_MOST), 0);
		memset(r.page, 0, PAGE_SIZE);
		expect_eq(pack(false, bytes, 0), 0);
		expect(pack(false, bytes, 64));
	}
	end();
}
END_TEST

/* A page or a refusal, and the same one again. */
static void unpack_hostile(bool delta, const uint8_t *bytes, unsigned int size)
{
	struct page first;
	int result;

	memset(r.back, 0x11, PAGE_SIZE);
	result = unpack(delta, bytes, size);
	expect(result == 0 || result == -EBADMSG);
	first = *r.back;
	memset(r.back, 0xee, PAGE_SIZE);
	expect_eq(unpack(delta, bytes, size), result);
	expect(result < 0 || !memcmp(&first, r.back, PAGE_SIZE));
}

static unsigned int mutate(uint8_t *bytes, unsigned int size)
{
	for (uint64_t n = random_below(&r.random, 6); n; n--)
		bytes[random_below(&r.random, size)] = (uint8_t)random_next(&r.random);
	for (uint64_t n = random_below(&r.random, 3); n; n--)
		bytes[random_below(&r.random, size)] ^= (uint8_t)(1u << random_below(&r.random, 8));
	return random_below(&r.random, 3) ? size : (unsigned int)random_below(&r.random, size + 1);
}

START_TEST(hostile)
{
	uint8_t bytes[CODEC_MOST];

	start("hostile");
	for (unsigned int i = 0; i < HOSTILE; i++) {
		bool delta = random_below(&r.random, 2);
		unsigned int size = 0;

		if (i % 16 == 0) {
			fill(r.reference);
			resemble();
		}
		if (random_below(&r.random, 8))
			size = pack(delta, bytes, CODEC_MOST);
		if (size) {
			size = mutate(bytes, size);
		} else {
			for (size = 0; size < sizeof(bytes); size++)
				bytes[size] = (uint8_t)random_next(&r.random);
			size = (unsigned int)random_below(&r.random, CODEC_MOST + 1);
		}
		unpack_hostile(random_below(&r.random, 4) ? delta : !delta, bytes, size);
	}
	/* And it works as before. */
	fill_words(r.reference);
	*r.page = *r.reference;
	ck_assert(round_trip(false) && round_trip(true));
	end();
}
END_TEST

/* Every part of a page's bytes, and more than they are. */
START_TEST(truncated)
{
	uint8_t bytes[CODEC_MOST] = {0};

	start("truncated");
	for (unsigned int i = 0; i < 20; i++) {
		bool delta = i % 2;
		unsigned int size;

		fill_words(r.reference);
		resemble();
		size = pack(delta, bytes, CODEC_MOST - 1);
		for (unsigned int n = 0; n < size; n++)
			expect_eq(unpack(delta, bytes, n), -EBADMSG);
		bytes[size] = 0;
		expect(!size || unpack(delta, bytes, size + 1) == -EBADMSG);
	}
	end();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {there_and_back, same_bytes, small_deltas, no_gain, hostile, truncated};

	return RUN_TESTS("dedup_codec", tests);
}
