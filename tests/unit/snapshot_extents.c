/* Which part of a chain has a page, against a list of all pages that every part in turn is written over. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/extents.h"
#include "snapshot/image_reader.h"
#include "tests/unit/random.h"
#include "vmm/mem.h"

#define PARTS 9u
#define PAGES 200u
#define ROUNDS 500u

struct chain {
	unsigned int parts;
	struct image_reader part[PARTS]; /* the first is the newest */
	uint64_t checksum[PAGES];	 /* 0 = zero */
	const struct image_reader *owner[PAGES];
};

/* A part has runs of pages, of either kind, with gaps of up to `most` pages between; `most` is 0 where it has all. */
static void make_part(struct chain *c, struct image_reader *r, struct random *random, unsigned int most)
{
	for (uint64_t page = random_below(random, most + 1); page < PAGES; page++) {
		uint64_t checksum = random_below(random, 4) ? random_next(random) | 1 : 0;

		ck_assert_int_eq(checksum ? page_map_add(&r->sn.pages, page * PAGE_SIZE, checksum) :
				 page_map_add_zero(&r->sn.pages, page * PAGE_SIZE), 0);
		c->checksum[page] = checksum;
		c->owner[page] = r;
		page += random_below(random, 3) ? 0 : random_below(random, most + 1);
	}
}

static void make_chain(struct chain *c, struct random *random)
{
	*c = (struct chain){.parts = 1 + (unsigned int)random_below(random, PARTS)};
	for (unsigned int n = c->parts; n-- > 0;) {
		c->part[n].parent = n + 1 < c->parts ? &c->part[n + 1] : NULL;
		make_part(c, &c->part[n], random, (unsigned int)random_below(random, 40));
	}
}

static void check_page(const struct chain *c, const struct extents *e, uint64_t page)
{
	uint64_t gpa = page * PAGE_SIZE, end;
	const struct extent *x = extents_find(e, gpa, &end);

	if (!c->checksum[page]) {
		ck_assert_ptr_null(x);
		for (uint64_t n = page; n < PAGES && n * PAGE_SIZE < end; n++)
			ck_assert_msg(!c->checksum[n], "page %lu is not zero", n);
		return;
	}
	ck_assert_msg(x && x->gpa <= gpa && gpa < x->gpa + x->pages * PAGE_SIZE, "page %lu is not there", page);
	ck_assert_ptr_eq(x->part, c->owner[page]);
	ck_assert_uint_eq(x->checksum[page - x->gpa / PAGE_SIZE], c->checksum[page]);
}

static void check_order(const struct extents *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct extent *x = &e->extent[i];

		ck_assert_uint_gt(x->pages, 0);
		ck_assert(i == 0 || x->gpa >= x[-1].gpa + x[-1].pages * PAGE_SIZE);
	}
}

START_TEST(random_chains)
{
	struct random random = random_start("snapshot_extents");
	static struct chain c;
	struct extents e;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		make_chain(&c, &random);
		ck_assert_int_eq(extents_make(&e, &c.part[0]), 0);
		check_order(&e);
		for (uint64_t page = 0; page < PAGES; page++)
			check_page(&c, &e, page);
		extents_free(&e);
		for (unsigned int n = 0; n < c.parts; n++)
			page_map_free(&c.part[n].sn.pages);
	}
}
END_TEST

START_TEST(empty)
{
	struct image_reader r = {0};
	struct extents e;
	uint64_t end;

	ck_assert_int_eq(extents_make(&e, &r), 0);
	ck_assert_ptr_null(extents_find(&e, 0, &end));
	ck_assert_uint_eq(end, UINT64_MAX);
	extents_free(&e);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_extents");
	TCase *tcase = tcase_create("snapshot_extents");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, random_chains);
	tcase_add_test(tcase, empty);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
