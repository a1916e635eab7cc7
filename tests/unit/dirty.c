/*
 * Dirty epochs at the door, without KVM: several consumers against a naive model that keeps one flag a page for each.
 */
#include "vmm/dirty.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/vm/suite.h"

#define GIB (1ull << 30)
#define CONSUMERS 3
#define LOW_PAGES 300u	/* pages tried at the start of RAM, */
#define EDGE_PAGES 40u	/* on both sides of the hole, */
#define TRIED (LOW_PAGES + 2 * EDGE_PAGES)

static struct mem ram;
static struct dirty dirty;

/* The tried pages: low RAM, the end of the first region, the start of the second. */
static uint64_t gpa_of(unsigned int page)
{
	if (page < LOW_PAGES)
		return page * PAGE_SIZE;
	page -= LOW_PAGES;
	return page < EDGE_PAGES ? 3 * GIB - (EDGE_PAGES - page) * PAGE_SIZE : 4 * GIB + (page - EDGE_PAGES) * PAGE_SIZE;
}

static bool model[CONSUMERS][TRIED];

static void write_somewhere(struct random *r)
{
	unsigned int first = (unsigned int)random_below(r, TRIED), last = first;
	uint64_t start = gpa_of(first) + random_below(r, PAGE_SIZE);
	uint64_t size = 1 + random_below(r, 3 * PAGE_SIZE);

	if (!mem_at(&ram, start, size, MEM_READ))
		return;
	while (last + 1 < TRIED && gpa_of(last + 1) <= start + size - 1 && gpa_of(last + 1) >= start)
		last++;
	/* Past the tried pages nobody looks. */
	ck_assert_ptr_nonnull(mem_at(&ram, start, size, MEM_WRITE));
	for (unsigned int c = 0; c < CONSUMERS; c++)
		memset(&model[c][first], 1, last - first + 1);
}

static bool is_in(const struct dirty_set *set, uint64_t gpa)
{
	unsigned int n = 0;
	uint64_t page;

	while (gpa - ram.region[n].gpa >= ram.region[n].size)
		n++;
	page = (gpa - ram.region[n].gpa) / PAGE_SIZE;
	return dirty_words(&dirty, set, n)[page / 64] >> page % 64 & 1;
}

struct walked {
	const struct dirty_set *set;
	uint64_t pages, end;
};

static int on_range(void *arg, uint64_t gpa, uint64_t size)
{
	struct walked *w = arg;

	ck_assert(size && gpa % PAGE_SIZE == 0 && size % PAGE_SIZE == 0 && mem_at(&ram, gpa, size, MEM_READ));
	ck_assert(gpa > w->end || (gpa == 0 && !w->pages)); /* ascending, and no range could be longer */
	for (uint64_t at = gpa; at < gpa + size; at += PAGE_SIZE)
		if (!is_in(w->set, at))
			ck_abort_msg("page 0x%llx is not in the set", (unsigned long long)at);
	w->pages += size / PAGE_SIZE;
	w->end = gpa + size;
	return 0;
}

static void compare(const struct dirty_set *set, const bool *flags)
{
	struct walked w = {.set = set};

	ck_assert_int_eq(dirty_walk(&dirty, set, on_range, &w), 0);
	ck_assert_uint_eq(w.pages, dirty_count(&dirty, set));
	for (unsigned int page = 0; page < TRIED; page++)
		ck_assert_msg(is_in(set, gpa_of(page)) == flags[page], "page 0x%llx",
			      (unsigned long long)gpa_of(page));
}

START_TEST(consumers_do_not_disturb_each_other)
{
	struct random r = random_start("dirty");
	struct dirty_consumer consumers[CONSUMERS];
	struct dirty_set set;

	for (unsigned int c = 0; c < CONSUMERS; c++)
		ck_assert_int_eq(dirty_begin(&dirty, &consumers[c]), 0);
	memset(model, 0, sizeof(model));
	ck_assert_int_eq(dirty_set_alloc(&dirty, &set), 0);
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int c = (unsigned int)random_below(&r, CONSUMERS);

		for (unsigned int n = 0; n < random_below(&r, 20); n++)
			write_somewhere(&r);
		ck_assert_int_eq(dirty_take(&dirty, &consumers[c], &set), 0);
		compare(&set, model[c]);
		if (random_below(&r, 3) == 0)
			dirty_give_back(&dirty, &consumers[c], &set);
		else
			memset(model[c], 0, sizeof(model[c]));
	}
	dirty_set_free(&set);
	for (unsigned int c = 0; c < CONSUMERS; c++)
		dirty_end(&dirty, &consumers[c]);
}
END_TEST

START_TEST(an_epoch_starts_empty)
{
	struct dirty_consumer c;
	struct dirty_set set;

	mem_dirtied(&ram, 0, 16 * PAGE_SIZE);
	ck_assert_int_eq(dirty_begin(&dirty, &c), 0);
	ck_assert_int_eq(dirty_set_alloc(&dirty, &set), 0);
	ck_assert_int_eq(dirty_take(&dirty, &c, &set), 0);
	ck_assert_uint_eq(dirty_count(&dirty, &set), 0);
	mem_dirtied(&ram, PAGE_SIZE - 1, 2);
	ck_assert_int_eq(dirty_take(&dirty, &c, &set), 0);
	ck_assert_uint_eq(dirty_count(&dirty, &set), 2);
	dirty_set_free(&set);
	dirty_end(&dirty, &c);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("dirty");
	int status;

	if (mem_create(&ram, 5 * GIB, MEM_HUGE_NEVER) < 0)
		return EXIT_FAILURE;
	dirty_init(&dirty, &ram, NULL);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, consumers_do_not_disturb_each_other);
	tcase_add_test(tcase, an_epoch_starts_empty);
	status = run_case("dirty", tcase);
	dirty_destroy(&dirty);
	mem_destroy(&ram);
	return status;
}
