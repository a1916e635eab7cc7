/* Which pages are found by others that resemble them, when there is room and when there is not. */
#include "dedup/similar.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define PAGES 3000u
#define WORDS (PAGE_SIZE / sizeof(uint64_t))

struct page {
	uint64_t word[WORDS];
};

static struct page page[PAGES];

/* Random words, with zeros between: a page of a heap. */
static void fill(struct page *p, struct random *r)
{
	for (unsigned int i = 0; i < WORDS; i++)
		p->word[i] = random_below(r, 3) ? random_next(r) : 0;
}

static void fill_all(struct random *r)
{
	for (unsigned int i = 0; i < PAGES; i++)
		fill(&page[i], r);
}

static void change(struct page *p, struct random *r, unsigned int words)
{
	while (words--)
		p->word[random_below(r, WORDS)] = random_next(r);
}

static void add(struct similar *s, unsigned int n)
{
	struct similar_sketch k;

	similar_sketch(&page[n], &k);
	similar_add(s, &k, n + 1);
}

static void take_out(struct similar *s, unsigned int n)
{
	struct similar_sketch k;

	similar_sketch(&page[n], &k);
	similar_remove(s, &k, n + 1);
}

static bool finds(const struct similar *s, const struct page *p, uint32_t id)
{
	uint32_t found[SIMILAR_FOUND];
	struct similar_sketch k;
	unsigned int count;
	bool yes = false;

	similar_sketch(p, &k);
	count = similar_find(s, &k, 0, 0, found);
	expect(count <= SIMILAR_FOUND);
	for (unsigned int i = 0; i < count; i++) {
		expect(found[i]);
		for (unsigned int j = 0; j < i; j++)
			expect(found[i] != found[j]);
		yes = yes || found[i] == id;
	}
	return yes;
}

/* Of the pages from `first` on, with so many words changed: percent that find what they were. */
static double found_percent(const struct similar *s, struct random *r, unsigned int first, unsigned int words)
{
	unsigned int n = 0;

	for (unsigned int i = first; i < PAGES; i++) {
		struct page changed = page[i];

		change(&changed, r, words);
		n += finds(s, &changed, i + 1);
	}
	return 100.0 * n / (PAGES - first);
}

static struct similar *make(uint64_t pages)
{
	struct similar *s = similar_create(pages);

	ck_assert_ptr_nonnull(s);
	return s;
}

START_TEST(few_words_differ)
{
	struct random r = random_start("few_words_differ");
	struct similar *s = make(8ull * PAGES);

	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++)
		add(s, i);
	ck_assert_double_ge(found_percent(s, &r, 0, 0), 100);
	ck_assert_double_ge(found_percent(s, &r, 0, 4), 99.5);
	ck_assert_double_ge(found_percent(s, &r, 0, 40), 90);
	similar_destroy(s);
}
END_TEST

/* As many as are said to be in it without loss. */
START_TEST(a_fifth)
{
	struct random r = random_start("a_fifth");
	struct similar *s = make(5ull * PAGES);

	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++)
		add(s, i);
	ck_assert_double_ge(found_percent(s, &r, 0, 4), 97);
	similar_destroy(s);
}
END_TEST

/* Far too many: the newest are there, and others are gone. */
START_TEST(displaced)
{
	struct random r = random_start("displaced");
	struct similar *s = make(PAGES);

	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++)
		add(s, i);
	ck_assert_double_ge(found_percent(s, &r, PAGES - PAGES / 8, 4), 97);
	similar_destroy(s);
}
END_TEST

/* What others have in common with all pages does not hide what they have with one. */
START_TEST(common_blocks)
{
	struct random r = random_start("common_blocks");
	struct similar *s = make(8ull * PAGES);
	struct page common;

	fill(&common, &r);
	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++) {
		memcpy(page[i].word, common.word, PAGE_SIZE / 2);
		add(s, i);
	}
	ck_assert_double_ge(found_percent(s, &r, 0, 4), 97);
	similar_destroy(s);
}
END_TEST

START_TEST(most_in_common_first)
{
	struct random r = random_start("most_in_common_first");
	struct similar *s = make(1000);
	uint32_t found[SIMILAR_FOUND];
	struct similar_sketch k;

	fill(&page[0], &r);
	for (unsigned int i = 1; i <= 8; i++) {
		fill(&page[i], &r);
		memcpy(page[i].word, page[0].word, PAGE_SIZE / 8);
		add(s, i);
	}
	add(s, 0);
	similar_sketch(&page[0], &k);
	ck_assert_uint_ge(similar_find(s, &k, 0, 0, found), 2);
	ck_assert_uint_eq(found[0], 1);
	similar_destroy(s);
}
END_TEST

START_TEST(removed)
{
	struct random r = random_start("removed");
	struct similar *s = make(8ull * PAGES);

	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++)
		add(s, i);
	for (unsigned int i = 0; i < PAGES; i += 2)
		take_out(s, i);
	for (unsigned int i = 0; i < PAGES; i++)
		expect(finds(s, &page[i], i + 1) == i % 2);
	similar_destroy(s);
}
END_TEST

/* A page that was added again and again has the room of one. */
START_TEST(added_again)
{
	struct random r = random_start("added_again");
	struct similar *s = make(8ull * PAGES);

	fill_all(&r);
	for (unsigned int i = 0; i < PAGES; i++)
		add(s, i);
	for (unsigned int i = 0; i < 100000; i++)
		add(s, 7);
	ck_assert_double_ge(found_percent(s, &r, 0, 0), 100);
	take_out(s, 7);
	ck_assert(!finds(s, &page[7], 8));
	similar_destroy(s);
}
END_TEST

/* Nothing is found by what most pages have. */
START_TEST(says_nothing)
{
	struct similar *s = make(1);
	struct similar_sketch k;

	for (unsigned int byte = 0; byte < 256; byte++) {
		memset(&page[0], (int)byte, PAGE_SIZE);
		similar_sketch(&page[0], &k);
		for (unsigned int i = 0; i < SIMILAR_BLOCKS; i++)
			expect_eq(k.block[i], 0);
		add(s, 0);
		expect(!finds(s, &page[0], 1));
	}
	similar_destroy(s);
}
END_TEST

START_TEST(small_and_large)
{
	struct random r = random_start("small_and_large");

	fill_all(&r);
	for (unsigned int bits = 0; bits < 24; bits++) {
		uint64_t pages = 1ull << bits;
		struct similar *s = make(pages);

		ck_assert_uint_le(similar_bytes(s), 5 * pages / 2 + 200);
		for (unsigned int i = 0; i < 64; i++)
			add(s, i);
		expect(finds(s, &page[63], 64));
		similar_destroy(s);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		few_words_differ, a_fifth, displaced, common_blocks, most_in_common_first, removed, added_again, says_nothing,
		small_and_large,
	};

	return RUN_TESTS("dedup_similar", tests);
}
