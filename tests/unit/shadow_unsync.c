/*
 * Guest tables that may be written and are out of sync until the guest flushes: what it finds in them until then, what stores
 * to them cost, and when they are tables again. One property at a time, as in shadow_tables.c.
 */
#include "shadow/tables.h"

#include <check.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/shadow_paged.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define POOL 512u
#define WINDOW 0xffff900000000000ull /* where the guest's kernel sees all RAM, in large pages */

static void map_window(struct paged *g)
{
	for (uint64_t gpa = 0; gpa < g->m.ram.size; gpa += 2 << 20)
		*machine_word(&g->m, paged_entry(g, WINDOW + gpa, 2)) = gpa | (PAGED_PAGE_BITS & ~PTE_U) | PTE_PS;
}

/* The guest's kernel stores to its own memory. Returns the exits it took. */
static uint64_t kernel_store(struct paged *g, uint64_t gpa, uint64_t value)
{
	uint64_t before = g->m.exits, at = 0;
	enum machine_verdict v;
	struct walk w;

	g->m.view = VIEW_KERNEL;
	v = machine_access(&g->m, WINDOW + gpa, MMU_WRITE, PAGED_TRIES, &at, &w);
	expect(v == MACHINE_DONE || v == MACHINE_STORE);
	expect_eq(v == MACHINE_DONE ? at : w.gpa, gpa);
	machine_store(&g->m, gpa, &value, sizeof(value));
	return g->m.exits - before;
}

static void load_cr3(struct paged *g, uint64_t cr3)
{
	g->m.cs.cr3 = cr3;
	tables_load_cr3(g->m.tables, &g->m.cs);
	g->m.exits++;
	machine_check(&g->m);
}

START_TEST(a_whole_table_is_written)
{
	const uint64_t gva = 0x40000000;
	struct paged g;
	uint64_t table, exits = 0;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 512; i++)
		paged_map(&g, gva + i * PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
	paged_touch(&g, gva, 512, MMU_WRITE);
	g.m.view = VIEW_USER;
	paged_touch(&g, gva, 512, MMU_WRITE);
	table = paged_entry(&g, gva, 1);
	expect(tables_is_table(g.m.tables, table));
	for (uint64_t i = 0; i < 512; i++)
		exits += kernel_store(&g, table + i * 8, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	load_cr3(&g, g.m.cs.cr3);
	expect_msg(exits + 1 <= 8, "%" PRIu64 " exits", exits + 1);

	/* A good many edits were saved by exchanging the page, and nothing has to be filled again. */
	expect_eq(paged_touch(&g, gva, 512, MMU_WRITE), 0);
	expect(g.m.edits < 50);
	expect_eq(tables_stats(g.m.tables).unsynced, 1);
	machine_destroy(&g.m);
}
END_TEST

/* A process of `pages` pages from gva on, the kernel's half shared; all of it through the kernel's window. */
static uint64_t fork_like(struct paged *g, uint64_t gva, uint64_t pages)
{
	uint64_t parent = g->m.cs.cr3, table[5] = {0};

	table[4] = g->next;
	for (int level = 4; level; level--) {
		table[level] = g->next;
		g->next += PAGE_SIZE;
		for (unsigned int i = 0; i < 512; i++)
			kernel_store(g, table[level] + i * 8, 0);
	}
	for (uint64_t i = 256; i < 512; i++)
		kernel_store(g, table[4] + i * 8, *machine_word(&g->m, parent + i * 8));
	for (int level = 4; level > 1; level--)
		kernel_store(g, table[level] + (gva >> (3 + 9 * level) & 511) * 8, table[level - 1] | PAGED_TABLE_BITS);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t from = paged_entry(g, gva + i * PAGE_SIZE, 1), gpte = *machine_word(&g->m, from) & ~PTE_W;

		kernel_store(g, from, gpte);
		kernel_store(g, table[1] + from % PAGE_SIZE, gpte);
	}
	load_cr3(g, parent);
	return table[4];
}

START_TEST(fork_of_256_pages)
{
	const uint64_t pages = 256, gva = 0x40000000;
	struct paged g;
	uint64_t child, before;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < pages; i++)
		paged_map(&g, gva + i * PAGE_SIZE, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	paged_touch(&g, gva, pages, MMU_WRITE);
	g.m.view = VIEW_USER;
	paged_touch(&g, gva, pages, MMU_WRITE);
	before = g.m.exits;
	child = fork_like(&g, gva, pages);
	expect_msg(g.m.exits - before <= 20, "%" PRIu64 " exits for the fork", g.m.exits - before);

	/* The child reads all of it, the parent goes on. */
	load_cr3(&g, child);
	g.m.view = VIEW_USER;
	paged_touch(&g, gva, pages, MMU_READ);
	load_cr3(&g, child);
	paged_touch(&g, gva, pages, MMU_READ);
	expect_msg(g.m.exits - before <= 40, "%" PRIu64 " exits", g.m.exits - before);
	paged_ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT);
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(out_of_sync_until_flushed)
{
	const uint64_t gva = 0x40000000;
	struct paged g;
	uint64_t table, gpa;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 3; i++)
		paged_map(&g, gva + i * PAGE_SIZE, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	paged_touch(&g, gva, 3, MMU_WRITE);
	table = paged_entry(&g, gva, 1);
	for (uint64_t i = 0; i < 3; i++)
		expect((kernel_store(&g, table + i * 8, 0) > 0) == (i == 0));
	expect(!tables_is_table(g.m.tables, table));
	machine_check(&g.m);

	/* Old ones stay until they are flushed, each for itself; new ones come as they are. */
	tables_invlpg(g.m.tables, &g.m.cs, gva + PAGE_SIZE);
	machine_enter(&g.m);
	expect(machine_touch(&g.m, gva, MMU_WRITE, &gpa) && gpa == PAGED_DATA);
	expect(!machine_touch(&g.m, gva + PAGE_SIZE, MMU_READ, &gpa));
	expect(machine_touch(&g.m, gva + 2 * PAGE_SIZE, MMU_WRITE, &gpa));
	tables_edits_done(g.m.tables);
	expect_eq(kernel_store(&g, table + 8, (PAGED_DATA + 7 * PAGE_SIZE) | PAGED_PAGE_BITS), 0);
	expect_eq(paged_ends(&g, gva + PAGE_SIZE, MMU_WRITE, MACHINE_DONE), 1);
	load_cr3(&g, g.m.cs.cr3);
	expect(tables_is_table(g.m.tables, table));
	paged_ends(&g, gva, MMU_READ, MACHINE_GUEST_FAULT);
	paged_ends(&g, gva + 2 * PAGE_SIZE, MMU_READ, MACHINE_GUEST_FAULT);
	expect_eq(paged_ends(&g, gva + PAGE_SIZE, MMU_WRITE, MACHINE_DONE), 0);
	expect(kernel_store(&g, table, 0) > 0);

	/* It comes to serve as a page directory, too: in sync again. */
	expect(!tables_is_table(g.m.tables, table));
	kernel_store(&g, table, table | PAGED_PAGE_BITS);
	kernel_store(&g, paged_entry(&g, 0x80000000, 3), table | PAGED_TABLE_BITS);
	paged_ends(&g, 0x80000000, MMU_READ, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, table));
	expect(kernel_store(&g, table + 16, 0) > 0);
	expect(tables_is_table(g.m.tables, table));
	machine_destroy(&g.m);
}
END_TEST

/* A translation that no TLB can have yet comes from the table as it is, however old its other users' are. */
START_TEST(a_new_way_to_a_table_out_of_sync)
{
	const uint64_t gva = 0x40000000, other = 0x80000000;
	const unsigned int count = _i ? 100 : 1;
	struct paged g;
	uint64_t table;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 200; i++)
		paged_map(&g, gva + i * PAGE_SIZE, (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
	table = paged_entry(&g, gva, 1);
	*machine_word(&g.m, paged_entry(&g, other, 2)) = table | PAGED_TABLE_BITS;
	for (unsigned int view = 0; view < 2; view++) {
		g.m.view = view ? VIEW_USER : VIEW_KERNEL;
		paged_touch(&g, gva, 200, MMU_WRITE);
	}
	for (uint64_t i = 0; i < count; i++)
		kernel_store(&g, table + i * 8, 0);
	paged_ends(&g, other + 199 * PAGE_SIZE, MMU_WRITE, MACHINE_DONE);
	for (uint64_t i = 0; i < count; i++)
		paged_ends(&g, other + i * PAGE_SIZE, MMU_WRITE, MACHINE_GUEST_FAULT);
	expect_eq(kernel_store(&g, table, 0), 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(an_emptied_table_is_none_any_more)
{
	const uint64_t gva = 0x40000000;
	struct paged g;
	uint64_t table;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 40; i++)
		paged_map(&g, gva + i * PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
	paged_touch(&g, gva, 40, MMU_WRITE);
	table = paged_entry(&g, gva, 1);
	for (uint64_t i = 0; i < 512; i++)
		kernel_store(&g, table + i * 8, 0);
	load_cr3(&g, g.m.cs.cr3);
	kernel_store(&g, table, 0);
	load_cr3(&g, g.m.cs.cr3);
	expect(!tables_is_table(g.m.tables, table));
	expect_eq(kernel_store(&g, table, 0), 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(a_change_now_and_then_costs_no_page)
{
	const uint64_t gva = 0x40000000;
	struct paged g;

	paged_create(&g, 16 << 20, TABLES_MIN_PAGES);
	map_window(&g);
	paged_map(&g, gva + PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
	for (uint64_t i = 0; i < 200; i++) {
		kernel_store(&g, paged_entry(&g, gva, 1), (PAGED_DATA + i * PAGE_SIZE) | PAGED_PAGE_BITS);
		load_cr3(&g, g.m.cs.cr3);
		paged_ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	}
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(more_tables_out_of_sync_than_are_let)
{
	const uint64_t gva = 0x40000000, step = 2 << 20;
	struct paged g;

	paged_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < MAX_UNSYNC + 6; i++) {
		paged_map(&g, gva + i * step, PAGED_DATA | PAGED_PAGE_BITS);
		paged_map(&g, gva + i * step + PAGE_SIZE, PAGED_DATA | PAGED_PAGE_BITS);
		paged_touch(&g, gva + i * step, 2, MMU_WRITE);
	}
	for (unsigned int round = 0; round < 3; round++) {
		uint64_t gpte = (PAGED_DATA + PAGE_SIZE * round) | PAGED_PAGE_BITS;

		for (uint64_t i = 0; i < MAX_UNSYNC + 6; i++) {
			kernel_store(&g, paged_entry(&g, gva + i * step, 1), gpte);
			kernel_store(&g, paged_entry(&g, gva + i * step + PAGE_SIZE, 1), gpte);
		}
		expect(tables_is_table(g.m.tables, paged_entry(&g, gva + (MAX_UNSYNC + 5) * step, 1)));
		load_cr3(&g, g.m.cs.cr3);
	}
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("shadow_unsync");

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, a_whole_table_is_written);
	tcase_add_test(tc, fork_of_256_pages);
	tcase_add_test(tc, out_of_sync_until_flushed);
	tcase_add_loop_test(tc, a_new_way_to_a_table_out_of_sync, 0, 2);
	tcase_add_test(tc, an_emptied_table_is_none_any_more);
	tcase_add_test(tc, a_change_now_and_then_costs_no_page);
	tcase_add_test(tc, more_tables_out_of_sync_than_are_let);
	return run_case("shadow_unsync", tc);
}
