/*
 * The shadow tables, one property at a time, on a guest with proper tables under a simulated CPU (shadow_machine.h),
 * and how many exits things cost. Tables out of sync are in shadow_unsync.c; for everything at once see shadow_lives.c.
 */
#include "shadow/tables.h"

#include <check.h>
#include <stdio.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/shadow_paged.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define POOL 512u

START_TEST(first_touch_of_a_range)
{
	static const struct {
		uint64_t bits;
		unsigned int access, pages_per_exit;
	} ranges[] = {
		{PAGED_PAGE_BITS, MMU_READ, 8}, {PAGED_PAGE_BITS, MMU_WRITE, 8}, {PAGED_PAGE_BITS, MMU_EXEC, 8},
		{PAGED_PAGE_BITS & ~PTE_D, MMU_READ, 8}, {PAGED_PAGE_BITS & ~PTE_D, MMU_WRITE, 1},
		{PAGED_PAGE_BITS & ~PTE_A, MMU_READ, 1}, {PAGED_PAGE_BITS & ~PTE_A & ~PTE_D, MMU_WRITE, 1},
	};
	const uint64_t pages = 1024, gva = 0x7f0000000000 + 17 * PAGE_SIZE;
	struct paged g;

	for (unsigned int view = 0; view < 2; view++) {
		for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
			paged_create(&g, 16 << 20, POOL);
			g.m.view = view ? VIEW_USER : VIEW_KERNEL;
			for (uint64_t n = 0; n < pages; n++)
				paged_map(&g, gva + n * PAGE_SIZE, (PAGED_DATA + n * PAGE_SIZE) | ranges[i].bits);
			expect(paged_touch(&g, gva, pages, ranges[i].access) <= pages / ranges[i].pages_per_exit);
			expect_eq(paged_touch(&g, gva, pages, ranges[i].access), 0);
			/* All that was needed is not-present to present and read-only to writable. */
			expect_eq(g.m.edits, 0);
			machine_check(&g.m);
			machine_destroy(&g.m);
		}
	}
}
END_TEST

/* What a page-table entry says, by bits of a small number. */
static uint64_t nth_gpte(unsigned int n)
{
	static const uint64_t bits[] = {PTE_P, PTE_W, PTE_U, PTE_A, PTE_D, PTE_NX, PAGE_SIZE};
	uint64_t gpte = PAGED_DATA;

	for (unsigned int i = 0; i < 7; i++)
		gpte |= n >> i & 1 ? bits[i] : 0;
	return gpte;
}

/* The CPU, and where it faults tables_fault(), do what the guest's tables say. */
static void agrees(struct paged *g, uint64_t gva, unsigned int access)
{
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;
	uint64_t gpa = 0;
	struct walk expected, w;
	enum machine_verdict v;

	walk_guest(&g->m.ram, &g->m.cs, gva, access | user, &expected);
	v = machine_access(&g->m, gva, access | user, PAGED_TRIES, &gpa, &w);
	expect_eq(v == MACHINE_DONE, !expected.fault);
	expect_eq(v == MACHINE_DONE ? gpa : w.error, v == MACHINE_DONE ? expected.gpa : expected.error);
}

/* From every entry that can be used to every other, reported as a store: never from outside what only an edit may do. */
START_TEST(every_change_of_an_entry)
{
	static const unsigned int kinds[] = {MMU_READ, MMU_EXEC, MMU_WRITE};
	const uint64_t gva = 0x40000000;
	uint64_t gpte_gpa, gpte;
	struct paged g;

	paged_create(&g, 16 << 20, POOL);
	g.m.cs.cr4 |= _i & 2 ? CR4_SMEP : 0;
	g.m.view = _i & 1 ? VIEW_USER : VIEW_KERNEL;
	gpte_gpa = paged_entry(&g, gva, 1);
	for (unsigned int from = 0; from < 128; from++) {
		for (unsigned int to = 0; to < 128; to++) {
			if ((from & 9) != 9)
				continue;
			machine_store(&g.m, gpte_gpa, &(uint64_t){nth_gpte(from)}, 8);
			for (unsigned int i = 0; i < 3; i++)
				agrees(&g, gva, kinds[i]);
			gpte = nth_gpte(to);
			machine_store(&g.m, gpte_gpa, &gpte, 8);
			for (unsigned int i = 3; i--;)
				agrees(&g, gva, kinds[i]);
		}
	}
	machine_check(&g.m);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(sixteen_address_spaces_stay_cached)
{
	const uint64_t gva = 0x400000;
	uint64_t space[16];
	struct paged g;

	paged_create(&g, 16 << 20, POOL);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 16; i++) {
			if (!round) {
				g.m.cs.cr3 = space[i] = paged_table(&g);
				paged_map(&g, gva, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
			}
			g.m.cs.cr3 = space[i];
			tables_load_cr3(g.m.tables, &g.m.cs);
			g.m.view = VIEW_KERNEL;
			expect((paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 0) == (round > 0));
			g.m.view = VIEW_USER;
			expect((paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 0) == (round > 0));
		}
	}
	expect_eq(tables_stats(g.m.tables).root_misses, 32);
	for (unsigned int i = 0; i < 40; i++) {
		g.m.cs.cr3 = paged_table(&g);
		paged_ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT);
	}
	g.m.cs.cr3 = space[0];
	expect(paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE) > 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(large_pages)
{
	const uint64_t gva = 0x40000000, table = PAGED_DATA + 5 * PAGE_SIZE;
	struct paged g;

	paged_create(&g, 16 << 20, POOL);
	*machine_word(&g.m, paged_entry(&g, gva, 2)) = PAGED_DATA | PAGED_PAGE_BITS | PTE_PS;
	paged_map(&g, 0x1000, (PAGED_DATA + (2 << 20)) | PAGED_PAGE_BITS);
	expect_eq(paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE), 1);
	expect_eq(paged_touch(&g, gva, 512, MMU_WRITE), 0);

	/* A frame in the middle becomes a table: the page is taken apart. */
	*machine_word(&g.m, table) = 0x3000 | PAGED_PAGE_BITS;
	*machine_word(&g.m, paged_entry(&g, 0x200000, 2)) = table | PAGED_TABLE_BITS;
	paged_ends(&g, 0x200000, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, table));
	expect(paged_touch(&g, gva, 5, MMU_WRITE) > 0);
	expect(paged_touch(&g, gva + 6 * PAGE_SIZE, 506, MMU_WRITE) <= 512 / 8);
	paged_ends(&g, gva + 5 * PAGE_SIZE, MMU_READ, MACHINE_DONE);

	/* One at the end of RAM, and one that has no RAM at all. */
	*machine_word(&g.m, paged_entry(&g, gva + (2 << 20), 2)) = (16 << 20) | PAGED_PAGE_BITS | PTE_PS;
	expect_eq(paged_ends(&g, gva + (2 << 20), MMU_WRITE, MACHINE_DEVICE), 1);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(a_large_page_half_of_which_is_ram)
{
	const uint64_t gva = 0x40000000, ram = 15 << 20;
	struct paged g;

	paged_create(&g, ram, POOL);
	*machine_word(&g.m, paged_entry(&g, gva, 2)) = (14 << 20) | PAGED_PAGE_BITS | PTE_PS;
	expect(paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 1);
	paged_ends(&g, gva + (1 << 20) - 1, MMU_WRITE, MACHINE_DONE);
	paged_ends(&g, gva + (1 << 20), MMU_READ, MACHINE_DEVICE);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(the_dirty_bit_of_a_large_page)
{
	const uint64_t gva = 0x40000000;
	struct paged g;
	uint64_t *pde;

	paged_create(&g, 15 << 20, POOL);
	for (unsigned int i = 0; i < 2; i++) {
		/* The second has to be taken apart. */
		pde = machine_word(&g.m, paged_entry(&g, gva + (i << 21), 2));
		*pde = (12 + 2 * i) << 20 | PAGED_TABLE_BITS | PTE_PS;
		paged_ends(&g, gva + (i << 21), MMU_READ, MACHINE_DONE);
		expect(!(*pde & PTE_D));
		paged_ends(&g, gva + (i << 21), MMU_WRITE, MACHINE_DONE);
		expect(*pde & PTE_D);
		expect_eq(paged_touch(&g, gva + (i << 21), 32, MMU_WRITE), 0);
	}
	machine_destroy(&g.m);
}
END_TEST

START_TEST(ram_above_the_hole)
{
	const uint64_t high = 0x100000000;
	struct paged g;

	paged_create(&g, (3ull << 30) + (6 << 20), POOL);
	paged_map(&g, 0x1000, high | PAGED_PAGE_BITS);
	paged_map(&g, 0x2000, (high + (6 << 20)) | PAGED_PAGE_BITS);
	paged_map(&g, 0x3000, (high - PAGE_SIZE) | PAGED_PAGE_BITS);
	*machine_word(&g.m, paged_entry(&g, 0x200000, 2)) = (high + (2 << 20)) | PAGED_PAGE_BITS | PTE_PS;
	*machine_word(&g.m, paged_entry(&g, 0x400000, 2)) = (high + (4 << 20)) | PAGED_TABLE_BITS;
	*machine_word(&g.m, high + (4 << 20)) = high | PAGED_PAGE_BITS;
	paged_touch(&g, 0x1000, 1, MMU_WRITE);
	paged_touch(&g, 0x200000, 513, MMU_WRITE);
	expect(tables_is_table(g.m.tables, high + (4 << 20)) && !tables_is_table(g.m.tables, high));
	machine_destroy(&g.m);
}
END_TEST

START_TEST(the_slot_of_the_monitor_is_closed)
{
	const uint64_t gva = 0xffff800000001000;
	struct paged g;

	paged_create(&g, 16 << 20, POOL);
	paged_map(&g, gva, PAGED_DATA | PAGED_PAGE_BITS);
	for (unsigned int view = 0; view < 2; view++) {
		uint64_t root;

		g.m.view = view ? VIEW_USER : VIEW_KERNEL;
		expect_eq(paged_ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT), 1);
		root = tables_root(g.m.tables, &g.m.cs, g.m.view);
		expect_eq(*(uint64_t *)(g.m.pool.hva + (root - g.m.pool.gpa) + 256 * 8), MACHINE_MONITOR_PML4E);
		machine_store(&g.m, g.m.cs.cr3 + 256 * 8, &(uint64_t){0}, 8);
		expect_eq(*(uint64_t *)(g.m.pool.hva + (root - g.m.pool.gpa) + 256 * 8), MACHINE_MONITOR_PML4E);
		machine_check(&g.m);
	}
	machine_destroy(&g.m);
}
END_TEST

START_TEST(one_instruction_gets_through_the_smallest_pool)
{
	struct paged g;
	uint64_t gva[8], gpa;
	struct walk w;

	/* Far from each other, and the pool full of something else. */
	paged_create(&g, 16 << 20, TABLES_MIN_PAGES);
	for (unsigned int i = 0; i < 8; i++) {
		gva[i] = (uint64_t)(i + 1) << 39 | (uint64_t)i << 30 | (uint64_t)i << 21 | (uint64_t)i << 12;
		paged_map(&g, gva[i], (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	}
	for (uint64_t i = 20; i < 36; i++) {
		paged_map(&g, i << 39, PAGED_DATA | PAGED_PAGE_BITS);
		paged_ends(&g, i << 39, MMU_READ, MACHINE_DONE);
	}
	for (unsigned int tries = 0;; tries++) {
		unsigned int i = 0;

		expect(tries <= 3 * 8);
		machine_enter(&g.m);
		while (i < 8 && machine_touch(&g.m, gva[i], MMU_WRITE, &gpa))
			i++;
		tables_edits_done(g.m.tables);
		if (i == 8)
			break;
		expect_eq(tables_fault(g.m.tables, &g.m.cs, g.m.view, gva[i], MMU_WRITE, &w), TABLES_FILLED);
	}
	expect(tables_stats(g.m.tables).recycled > 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(more_edits_than_there_is_room_for)
{
	const uint64_t gva = 0x40000000;
	struct paged g;

	/* A page with a thousand names becomes a table. */
	paged_create(&g, 16 << 20, POOL);
	for (uint64_t i = 0; i < 1000; i++)
		paged_map(&g, gva + i * PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
	expect(paged_touch(&g, gva, 1000, MMU_WRITE) <= 1000 / 8);
	*machine_word(&g.m, paged_entry(&g, 0x200000, 2)) = PAGED_DATA | PAGED_TABLE_BITS;
	*machine_word(&g.m, PAGED_DATA) = (PAGED_DATA + PAGE_SIZE) | PAGED_PAGE_BITS;
	paged_ends(&g, 0x200000, MMU_WRITE, MACHINE_DONE);
	expect(tables_stats(g.m.tables).recycled > 0);
	expect(tables_is_table(g.m.tables, PAGED_DATA));
	machine_destroy(&g.m);
}
END_TEST

static uint64_t resident_bytes(void)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	expect(f && fscanf(f, "%lu %lu", &size, &resident) == 2);
	fclose(f);
	return resident * PAGE_SIZE;
}

START_TEST(memory_for_small_pages)
{
	const uint64_t pages = 96 * 256, gva = 0x40000000;
	struct paged g;
	uint64_t before;

	paged_create(&g, 100 << 20, POOL);
	for (uint64_t i = 0; i < pages; i++)
		paged_map(&g, gva + i * PAGE_SIZE, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	paged_ends(&g, gva, MMU_READ, MACHINE_DONE);
	before = resident_bytes();
	paged_touch(&g, gva, pages, MMU_WRITE);
	expect_msg(resident_bytes() - before <= pages * PAGE_SIZE / 100, "%" PRIu64 " bytes for %" PRIu64 " pages",
		   resident_bytes() - before, pages);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(a_page_is_no_table_any_more)
{
	const uint64_t gva = 0x40000000, window = 0x1000;
	struct paged g;
	uint64_t pd, value = 0;

	paged_create(&g, 16 << 20, POOL);
	paged_map(&g, gva, PAGED_DATA | PAGED_PAGE_BITS);
	pd = paged_entry(&g, gva, 2) & ~(PAGE_SIZE - 1);
	paged_map(&g, window, pd | PAGED_PAGE_BITS);
	paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	paged_ends(&g, window, MMU_READ, MACHINE_DONE);

	/* Flooded: the third store is the last that costs an exit. */
	for (unsigned int i = 100; i < 103; i++) {
		expect(paged_ends(&g, window + i * 8, MMU_WRITE, MACHINE_STORE));
		machine_store(&g.m, pd + i * 8, &value, 8);
	}
	expect(!tables_is_table(g.m.tables, pd));
	expect(paged_touch(&g, window, 1, MMU_WRITE) <= 1);
	expect_eq(paged_touch(&g, window, 1, MMU_WRITE), 0);
	paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, pd));

	/* Not flooded while it is used in between. */
	for (unsigned int i = 100; i < 110; i++) {
		machine_store(&g.m, pd + i * 8, &value, 8);
		paged_map(&g, gva + i * PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
		paged_ends(&g, gva + i * PAGE_SIZE, MMU_READ, MACHINE_DONE);
		*machine_word(&g.m, paged_entry(&g, gva + 200 * PAGE_SIZE, 1)) = 0;
	}

	/* An odd store, and a table that nothing leads to any more. */
	machine_store(&g.m, pd + 8 * 100 + 4, &value, 8);
	expect(!tables_is_table(g.m.tables, pd));
	paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, pd));
	machine_store(&g.m, paged_entry(&g, gva, 3), &value, 8);
	expect(!tables_is_table(g.m.tables, pd));
	paged_ends(&g, gva, MMU_READ, MACHINE_GUEST_FAULT);
	machine_destroy(&g.m);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("shadow_tables");

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, first_touch_of_a_range);
	tcase_add_loop_test(tc, every_change_of_an_entry, 0, 4);
	tcase_add_test(tc, sixteen_address_spaces_stay_cached);
	tcase_add_test(tc, large_pages);
	tcase_add_test(tc, a_large_page_half_of_which_is_ram);
	tcase_add_test(tc, the_dirty_bit_of_a_large_page);
	tcase_add_test(tc, ram_above_the_hole);
	tcase_add_test(tc, the_slot_of_the_monitor_is_closed);
	tcase_add_test(tc, one_instruction_gets_through_the_smallest_pool);
	tcase_add_test(tc, more_edits_than_there_is_room_for);
	tcase_add_test(tc, memory_for_small_pages);
	tcase_add_test(tc, a_page_is_no_table_any_more);
	return run_case("shadow_tables", tc);
}
