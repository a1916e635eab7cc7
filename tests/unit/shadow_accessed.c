/*
 * Which pages are used, one property at a time, under a simulated CPU that knows what it did (shadow_machine.h). For
 * everything at once see shadow_lives.c.
 */
#include <check.h>
#include <stdlib.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_paged.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define RAM (16ull << 20)
#define POOL 512u
#define GVA 0x40000000ull
#define PAGES 1024u

static uint64_t data(uint64_t i)
{
	return PAGED_DATA + i * PAGE_SIZE;
}

/* PAGES pages of data, one after the other, and the question asked a first time. */
static void guest_create(struct paged *g)
{
	paged_create(g, RAM, POOL);
	for (uint64_t i = 0; i < PAGES; i++)
		paged_map(g, GVA + i * PAGE_SIZE, data(i) | PAGED_PAGE_BITS);
	expect(!machine_check_used(&g->m));
}

/* How many pages the answer names. */
static unsigned int used(struct paged *g)
{
	uint64_t said[RAM / PAGE_SIZE / 64] = {0};
	unsigned int count = 0;

	expect_eq(tables_accessed(g->m.tables, said), 1);
	for (size_t i = 0; i < RAM / PAGE_SIZE / 64; i++)
		count += (unsigned int)__builtin_popcountll(said[i]);
	return count;
}

START_TEST(some_of_many)
{
	static const unsigned int kinds[] = {MMU_READ, MMU_WRITE, MMU_EXEC};
	struct random r = random_start("some_of_many");
	struct paged g;

	guest_create(&g);
	for (unsigned int round = 0; round < 50; round++) {
		for (uint64_t n = random_below(&r, 100); n; n--) {
			g.m.view = random_below(&r, 2) ? VIEW_USER : VIEW_KERNEL;
			paged_touch(&g, GVA + random_below(&r, PAGES) * PAGE_SIZE, 1, kinds[random_below(&r, 3)]);
		}
		machine_check(&g.m);
		expect(machine_check_used(&g.m));
	}
	machine_destroy(&g.m);
}
END_TEST

/* The page and its four tables; neighbours were filled along with it. */
START_TEST(neighbours_are_not_used)
{
	struct paged g;

	guest_create(&g);
	paged_touch(&g, GVA, 1, MMU_READ);
	expect(tables_stats(g.m.tables).prefetched > 0);
	expect_eq(used(&g), 5);
	expect_eq(used(&g), 0);
	machine_destroy(&g.m);
}
END_TEST

/* Whatever becomes of the way to a page after it was used. */
START_TEST(the_way_there_is_gone)
{
	struct paged g;

	guest_create(&g);
	for (unsigned int how = 0; how < 4; how++) {
		uint64_t pte = paged_entry(&g, GVA, 1), pde = paged_entry(&g, GVA, 2);

		paged_touch(&g, GVA, 3, MMU_WRITE);
		if (how == 0)
			machine_store(&g.m, pte, &(uint64_t){data(9) | PAGED_PAGE_BITS}, 8);
		else if (how == 1)
			machine_store(&g.m, pde, &(uint64_t){0}, 8);
		else if (how == 2)
			tables_forget(g.m.tables, pte, 8);
		else
			tables_drop_all(g.m.tables);
		expect(machine_check_used(&g.m));
		machine_store(&g.m, pte, &(uint64_t){data(0) | PAGED_PAGE_BITS}, 8);
		*machine_word(&g.m, pde) = (pte & PTE_ADDR) | PAGED_TABLE_BITS;
		tables_drop_all(g.m.tables);
	}
	machine_destroy(&g.m);
}
END_TEST

/* One page of a large one; in one piece it is mapped again when nobody asks. */
START_TEST(large_pages)
{
	struct paged g;

	paged_create(&g, RAM, POOL);
	*machine_word(&g.m, paged_entry(&g, GVA, 2)) = PAGED_DATA | PAGED_PAGE_BITS | PTE_PS;
	machine_check_used(&g.m);
	paged_touch(&g, GVA + 7 * PAGE_SIZE, 1, MMU_WRITE);
	expect_eq(used(&g), 4);
	/* No dearer than a large one. */
	expect_eq(paged_touch(&g, GVA, 512, MMU_WRITE), 1);
	expect_eq(used(&g), 3 + 512);
	tables_ignore_accessed(g.m.tables);
	expect_eq(paged_touch(&g, GVA, 512, MMU_WRITE), 1);
	expect_eq(tables_stats(g.m.tables).prefetched, 2 * 511);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(ram_above_the_hole)
{
	const uint64_t high = 0x100000000, ram = (3ull << 30) + (6 << 20);
	uint64_t *said = calloc(ram / PAGE_SIZE / 64, sizeof(*said)), page;
	struct paged g;

	paged_create(&g, ram, POOL);
	paged_map(&g, GVA, (high + PAGE_SIZE) | PAGED_PAGE_BITS);
	expect_eq(tables_accessed(g.m.tables, said), 0);
	paged_touch(&g, GVA, 1, MMU_READ);
	expect_eq(tables_accessed(g.m.tables, said), 1);
	page = mem_page_number(&g.m.ram, high + PAGE_SIZE);
	expect(said[page / 64] == 1ull << page % 64);
	free(said);
	machine_destroy(&g.m);
}
END_TEST

/* What a call costs: a fault for each table that is in use. */
START_TEST(faults_after_a_call)
{
	struct paged g;

	guest_create(&g);
	for (unsigned int i = 0; i < 3; i++) {
		expect_eq(paged_touch(&g, GVA, PAGES, MMU_WRITE), PAGES / 512);
		machine_check_used(&g.m);
	}
	machine_destroy(&g.m);
}
END_TEST

START_TEST(walks_that_others_tell_of)
{
	struct walk w;
	struct paged g;

	guest_create(&g);
	walk_guest(&g.m.ram, &g.m.cs, GVA, MMU_READ, &w);
	tables_walked(g.m.tables, &w, true);
	expect_eq(used(&g), 5);
	tables_walked(g.m.tables, &w, false);
	expect_eq(used(&g), 4);
	/* Not canonical: nothing was read. */
	walk_guest(&g.m.ram, &g.m.cs, 1ull << 50, MMU_READ, &w);
	tables_walked(g.m.tables, &w, false);
	expect_eq(used(&g), 0);
	machine_destroy(&g.m);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		some_of_many, neighbours_are_not_used, the_way_there_is_gone, large_pages, ram_above_the_hole,
		faults_after_a_call, walks_that_others_tell_of,
	};

	return RUN_TESTS("shadow_accessed", tests);
}
