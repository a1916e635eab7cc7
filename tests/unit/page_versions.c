/*
 * Versions of pages against full copies of all of them: layers come anywhere and go anywhere, but the first, and what each of those that
 * are left says of each page is what the copy says. Memory that is short changes nothing. What is taken is given back.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replay/page_store.h"
#include "replay/page_versions.h"
#include "tests/unit/memory_fails.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define PAGES 40u
#define LAYERS_MOST 24u

struct copy {
	uint8_t page[PAGES][PAGE_SIZE];
};

struct world {
	struct page_store store;
	struct page_layer layer[LAYERS_MOST];
	struct copy *copy[LAYERS_MOST];
	unsigned int count;
};

/* Zeros, one of a few that come again, bytes that nobody can compress, or what was there with a byte changed. */
static void write_page(struct random *r, uint8_t *page)
{
	uint64_t how = random_below(r, 5);

	if (how == 0)
		memset(page, 0, PAGE_SIZE);
	else if (how == 1)
		memset(page, (int)random_below(r, 3), PAGE_SIZE);
	else if (how == 2)
		for (size_t i = 0; i < PAGE_SIZE; i++)
			page[i] = (uint8_t)random_next(r);
	else
		page[random_below(r, PAGE_SIZE)] ^= (uint8_t)(how - 3); /* or nothing */
}

static const struct page_content *version_at(const struct world *w, unsigned int n, uint64_t page)
{
	const struct page_content *c = NULL;

	for (unsigned int i = n + 1; i-- > 0 && !c;)
		c = page_layer_find(&w->layer[i], page);
	return c;
}

static void assert_as_copied(struct world *w)
{
	uint8_t page[PAGE_SIZE];

	for (unsigned int n = 0; n < w->count; n++) {
		for (uint64_t p = 0; p < PAGES; p++) {
			const struct page_content *c = version_at(w, n, p);
			const uint8_t *as = w->copy[n]->page[p];

			if (c)
				page_store_out(&w->store, c, page);
			else
				memset(page, 0, PAGE_SIZE);
			ck_assert_msg(!memcmp(page, as, PAGE_SIZE), "layer %u of %u, page %u", n, w->count, (unsigned int)p);
			ck_assert(!c || page_store_is(&w->store, c, as));
			page[PAGE_SIZE - 1] ^= 1;
			ck_assert(!c || !page_store_is(&w->store, c, page));
		}
	}
}

/* A layer behind layer n - 1: pages are written, and the ones behind it have the pages that are different there now. */
static void add_layer(struct world *w, struct random *r, unsigned int n)
{
	struct page_layer made = {0};
	struct copy *copy = __real_calloc(1, sizeof(*copy));

	if (n)
		*copy = *w->copy[n - 1];
	for (uint64_t p = random_below(r, 3); p < PAGES; p += 1 + random_below(r, 12)) {
		/* Between two layers only what the later one has a version of can have been something else. */
		if (n < w->count && !page_layer_find(&w->layer[n], p))
			continue;
		write_page(r, copy->page[p]);
		if (!random_below(r, 3))
			fails_in = 1 + (unsigned int)random_below(r, 3);
		while (page_layer_add(&made, &w->store, p, copy->page[p]) < 0)
			;
		fails_in = 0;
	}
	memmove(&w->layer[n + 1], &w->layer[n], (w->count - n) * sizeof(*w->layer));
	memmove(&w->copy[n + 1], &w->copy[n], (w->count - n) * sizeof(*w->copy));
	w->layer[n] = made;
	w->copy[n] = copy;
	w->count++;
}

static void drop_layer(struct world *w, struct random *r, unsigned int n)
{
	if (n + 1 < w->count) {
		fails_in = !random_below(r, 3);
		if (page_layer_fold(&w->layer[n + 1], &w->layer[n], &w->store) < 0) {
			assert_as_copied(w);
			ck_assert_int_eq(page_layer_fold(&w->layer[n + 1], &w->layer[n], &w->store), 0);
		}
		fails_in = 0;
	}
	page_layer_free(&w->layer[n], &w->store);
	free(w->copy[n]);
	w->count--;
	memmove(&w->layer[n], &w->layer[n + 1], (w->count - n) * sizeof(*w->layer));
	memmove(&w->copy[n], &w->copy[n + 1], (w->count - n) * sizeof(*w->copy));
}

START_TEST(as_copied)
{
	struct random r = random_start("as_copied");

	for (unsigned int round = 0; round < effort(8, 2); round++) {
		struct world w = {.count = 0};
		uint64_t bytes;

		ck_assert_int_eq(page_store_init(&w.store), 0);
		bytes = w.store.bytes;
		add_layer(&w, &r, 0);
		for (unsigned int i = 0; i < 60; i++) {
			unsigned int n = 1 + (unsigned int)random_below(&r, w.count);

			if (w.count < LAYERS_MOST && random_below(&r, 5) < 3)
				add_layer(&w, &r, n);
			else if (n < w.count)
				drop_layer(&w, &r, n);
			assert_as_copied(&w);
		}
		while (w.count > 1)
			drop_layer(&w, &r, w.count - 1);
		drop_layer(&w, &r, 0);
		ck_assert_uint_eq(w.store.count, 0);
		ck_assert_uint_eq(w.store.bytes, bytes);
		page_store_destroy(&w.store);
	}
}
END_TEST

/* However often it is there, it is kept once; with many different ones, each is found. */
START_TEST(kept_once)
{
	enum { DIFFERENT = 5000 };
	struct page_content **kept = calloc(DIFFERENT, sizeof(*kept));
	uint32_t page[PAGE_SIZE / 4] = {0};
	struct page_store s;
	uint64_t bytes;

	ck_assert_int_eq(page_store_init(&s), 0);
	for (uint32_t i = 0; i < DIFFERENT; i++) {
		page[i % (PAGE_SIZE / 4)] = i;
		fails_in = i == 1024 ? 2 : 0; /* more buckets */
		kept[i] = page_store_keep(&s, page);
		fails_in = 0;
		ck_assert_ptr_nonnull(kept[i]);
	}
	ck_assert_uint_eq(s.count, DIFFERENT);
	ck_assert_uint_lt(s.bytes, DIFFERENT * 2 * PAGE_SIZE);
	bytes = s.bytes;
	memset(page, 0, sizeof(page));
	for (uint32_t i = 0; i < DIFFERENT; i++) {
		page[i % (PAGE_SIZE / 4)] = i;
		ck_assert_ptr_eq(page_store_keep(&s, page), kept[i]);
		page_store_drop(&s, kept[i]);
	}
	ck_assert_uint_eq(s.bytes, bytes);
	for (uint32_t i = 0; i < DIFFERENT; i++)
		page_store_drop(&s, kept[i]);
	ck_assert_uint_eq(s.count, 0);
	page_store_destroy(&s);
	free(kept);
}
END_TEST

START_TEST(no_memory)
{
	struct page_store s;

	fails_in = 1;
	ck_assert_int_eq(page_store_init(&s), -ENOMEM);
	fails_in = 0;
	ck_assert_int_eq(page_store_init(&s), 0);
	fails_in = 1;
	ck_assert_ptr_null(page_store_keep(&s, (uint8_t[PAGE_SIZE]){1}));
	ck_assert_uint_eq(s.count, 0);
	page_store_destroy(&s);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {as_copied, kept_once, no_memory};

	return RUN_TESTS("page_versions", tests);
}
