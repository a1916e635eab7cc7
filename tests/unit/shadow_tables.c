/*
 * The shadow tables, one property at a time, on a guest with proper tables under a simulated CPU (shadow_machine.h),
 * and how many exits things cost. For everything at once see shadow_lives.c.
 */
#include "shadow/tables.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/shadow_machine.h"
#include "vmm/mmu.h"

#define POOL 512u
#define TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_BITS (TABLE_BITS | PTE_D)
#define TRIES 16u /* faults that one access may take */

/* A guest with proper tables, made page by page from `next` up. */
struct guest {
	struct machine m;
	uint64_t next;
};

#define TABLES_AT 0x10000ull
#define DATA 0x400000ull

static uint64_t new_table(struct guest *g)
{
	uint64_t page = g->next;

	g->next += PAGE_SIZE;
	memset(mem_at(&g->m.ram, page, PAGE_SIZE, MEM_WRITE), 0, PAGE_SIZE);
	return page;
}

static void guest_create(struct guest *g, uint64_t ram, uint32_t pool)
{
	machine_create(&g->m, ram, pool);
	g->next = TABLES_AT;
	g->m.cs.cr3 = new_table(g);
}

/* The entry for gva of that level, tables above it made as needed. */
static uint64_t entry_of(struct guest *g, uint64_t gva, int level)
{
	uint64_t table = g->m.cs.cr3;

	for (int l = 4; l > level; l--) {
		uint64_t *gpte = machine_word(&g->m, table + (gva >> (3 + 9 * l) & 511) * 8);

		if (!*gpte)
			*gpte = new_table(g) | TABLE_BITS;
		table = *gpte & PTE_ADDR;
	}
	return table + (gva >> (3 + 9 * level) & 511) * 8;
}

static void map(struct guest *g, uint64_t gva, uint64_t gpte)
{
	*machine_word(&g->m, entry_of(g, gva, 1)) = gpte;
}

/* The access ends so; returns the exits it took. */
static uint64_t ends(struct guest *g, uint64_t gva, unsigned int access, enum machine_verdict expected)
{
	uint64_t before = g->m.exits, gpa = 0;
	struct walk w;
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;

	expect_eq(machine_access(&g->m, gva, access | user, TRIES, &gpa, &w), expected);
	machine_check(&g->m);
	return g->m.exits - before;
}

static uint64_t touch_range(struct guest *g, uint64_t gva, uint64_t pages, unsigned int access)
{
	uint64_t exits = 0, gpa = 0;
	struct walk w;
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;

	for (uint64_t i = 0; i < pages; i++) {
		exits -= g->m.exits;
		expect_eq(machine_access(&g->m, gva + i * PAGE_SIZE, access | user, TRIES, &gpa, &w), MACHINE_DONE);
		exits += g->m.exits;
	}
	return exits;
}

START_TEST(first_touch_of_a_range)
{
	static const struct {
		uint64_t bits;
		unsigned int access, pages_per_exit;
	} ranges[] = {
		{PAGE_BITS, MMU_READ, 8}, {PAGE_BITS, MMU_WRITE, 8}, {PAGE_BITS, MMU_EXEC, 8},
		{PAGE_BITS & ~PTE_D, MMU_READ, 8}, {PAGE_BITS & ~PTE_D, MMU_WRITE, 1}, {PAGE_BITS & ~PTE_A, MMU_READ, 1},
		{PAGE_BITS & ~PTE_A & ~PTE_D, MMU_WRITE, 1},
	};
	const uint64_t pages = 1024, gva = 0x7f0000000000 + 17 * PAGE_SIZE;
	struct guest g;

	for (unsigned int view = 0; view < 2; view++) {
		for (unsigned int i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
			guest_create(&g, 16 << 20, POOL);
			g.m.view = view ? VIEW_USER : VIEW_KERNEL;
			for (uint64_t n = 0; n < pages; n++)
				map(&g, gva + n * PAGE_SIZE, (DATA + n * PAGE_SIZE) | ranges[i].bits);
			expect(touch_range(&g, gva, pages, ranges[i].access) <= pages / ranges[i].pages_per_exit);
			expect_eq(touch_range(&g, gva, pages, ranges[i].access), 0);
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
	uint64_t gpte = DATA;

	for (unsigned int i = 0; i < 7; i++)
		gpte |= n >> i & 1 ? bits[i] : 0;
	return gpte;
}

/* The CPU, and where it faults tables_fault(), do what the guest's tables say. */
static void agrees(struct guest *g, uint64_t gva, unsigned int access)
{
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;
	uint64_t gpa = 0;
	struct walk expected, w;
	enum machine_verdict v;

	walk_guest(&g->m.ram, &g->m.cs, gva, access | user, &expected);
	v = machine_access(&g->m, gva, access | user, TRIES, &gpa, &w);
	expect_eq(v == MACHINE_DONE, !expected.fault);
	expect_eq(v == MACHINE_DONE ? gpa : w.error, v == MACHINE_DONE ? expected.gpa : expected.error);
}

/* From every entry that can be used to every other, reported as a store: never from outside what only an edit may do. */
START_TEST(every_change_of_an_entry)
{
	static const unsigned int kinds[] = {MMU_READ, MMU_EXEC, MMU_WRITE};
	const uint64_t gva = 0x40000000;
	uint64_t gpte_gpa, gpte;
	struct guest g;

	guest_create(&g, 16 << 20, POOL);
	g.m.cs.cr4 |= _i & 2 ? CR4_SMEP : 0;
	g.m.view = _i & 1 ? VIEW_USER : VIEW_KERNEL;
	gpte_gpa = entry_of(&g, gva, 1);
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
	struct guest g;

	guest_create(&g, 16 << 20, POOL);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 16; i++) {
			if (!round) {
				g.m.cs.cr3 = space[i] = new_table(&g);
				map(&g, gva, (DATA + i * PAGE_SIZE) | PAGE_BITS);
			}
			g.m.cs.cr3 = space[i];
			tables_load_cr3(g.m.tables, &g.m.cs);
			g.m.view = VIEW_KERNEL;
			expect((ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 0) == (round > 0));
			g.m.view = VIEW_USER;
			expect((ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 0) == (round > 0));
		}
	}
	expect_eq(tables_stats(g.m.tables).root_misses, 32);
	for (unsigned int i = 0; i < 40; i++) {
		g.m.cs.cr3 = new_table(&g);
		ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT);
	}
	g.m.cs.cr3 = space[0];
	expect(ends(&g, gva, MMU_WRITE, MACHINE_DONE) > 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(large_pages)
{
	const uint64_t gva = 0x40000000, table = DATA + 5 * PAGE_SIZE;
	struct guest g;

	guest_create(&g, 16 << 20, POOL);
	*machine_word(&g.m, entry_of(&g, gva, 2)) = DATA | PAGE_BITS | PTE_PS;
	map(&g, 0x1000, (DATA + (2 << 20)) | PAGE_BITS);
	expect_eq(ends(&g, gva, MMU_WRITE, MACHINE_DONE), 1);
	expect_eq(touch_range(&g, gva, 512, MMU_WRITE), 0);

	/* A frame in the middle becomes a table: the page is taken apart. */
	*machine_word(&g.m, table) = 0x3000 | PAGE_BITS;
	*machine_word(&g.m, entry_of(&g, 0x200000, 2)) = table | TABLE_BITS;
	ends(&g, 0x200000, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, table));
	expect(touch_range(&g, gva, 5, MMU_WRITE) > 0);
	expect(touch_range(&g, gva + 6 * PAGE_SIZE, 506, MMU_WRITE) <= 512 / 8);
	ends(&g, gva + 5 * PAGE_SIZE, MMU_READ, MACHINE_DONE);

	/* One at the end of RAM, and one that has no RAM at all. */
	*machine_word(&g.m, entry_of(&g, gva + (2 << 20), 2)) = (16 << 20) | PAGE_BITS | PTE_PS;
	expect_eq(ends(&g, gva + (2 << 20), MMU_WRITE, MACHINE_DEVICE), 1);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(a_large_page_half_of_which_is_ram)
{
	const uint64_t gva = 0x40000000, ram = 15 << 20;
	struct guest g;

	guest_create(&g, ram, POOL);
	*machine_word(&g.m, entry_of(&g, gva, 2)) = (14 << 20) | PAGE_BITS | PTE_PS;
	expect(ends(&g, gva, MMU_WRITE, MACHINE_DONE) == 1);
	ends(&g, gva + (1 << 20) - 1, MMU_WRITE, MACHINE_DONE);
	ends(&g, gva + (1 << 20), MMU_READ, MACHINE_DEVICE);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(the_dirty_bit_of_a_large_page)
{
	const uint64_t gva = 0x40000000;
	struct guest g;
	uint64_t *pde;

	guest_create(&g, 15 << 20, POOL);
	for (unsigned int i = 0; i < 2; i++) {
		/* The second has to be taken apart. */
		pde = machine_word(&g.m, entry_of(&g, gva + (i << 21), 2));
		*pde = (12 + 2 * i) << 20 | TABLE_BITS | PTE_PS;
		ends(&g, gva + (i << 21), MMU_READ, MACHINE_DONE);
		expect(!(*pde & PTE_D));
		ends(&g, gva + (i << 21), MMU_WRITE, MACHINE_DONE);
		expect(*pde & PTE_D);
		expect_eq(touch_range(&g, gva + (i << 21), 32, MMU_WRITE), 0);
	}
	machine_destroy(&g.m);
}
END_TEST

START_TEST(ram_above_the_hole)
{
	const uint64_t high = 0x100000000;
	struct guest g;

	guest_create(&g, (3ull << 30) + (6 << 20), POOL);
	map(&g, 0x1000, high | PAGE_BITS);
	map(&g, 0x2000, (high + (6 << 20)) | PAGE_BITS);
	map(&g, 0x3000, (high - PAGE_SIZE) | PAGE_BITS);
	*machine_word(&g.m, entry_of(&g, 0x200000, 2)) = (high + (2 << 20)) | PAGE_BITS | PTE_PS;
	*machine_word(&g.m, entry_of(&g, 0x400000, 2)) = (high + (4 << 20)) | TABLE_BITS;
	*machine_word(&g.m, high + (4 << 20)) = high | PAGE_BITS;
	touch_range(&g, 0x1000, 1, MMU_WRITE);
	touch_range(&g, 0x200000, 513, MMU_WRITE);
	expect(tables_is_table(g.m.tables, high + (4 << 20)) && !tables_is_table(g.m.tables, high));
	machine_destroy(&g.m);
}
END_TEST

START_TEST(the_slot_of_the_monitor_is_closed)
{
	const uint64_t gva = 0xffff800000001000;
	struct guest g;

	guest_create(&g, 16 << 20, POOL);
	map(&g, gva, DATA | PAGE_BITS);
	for (unsigned int view = 0; view < 2; view++) {
		uint64_t root;

		g.m.view = view ? VIEW_USER : VIEW_KERNEL;
		expect_eq(ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT), 1);
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
	struct guest g;
	uint64_t gva[8], gpa;
	struct walk w;

	/* Far from each other, and the pool full of something else. */
	guest_create(&g, 16 << 20, TABLES_MIN_PAGES);
	for (unsigned int i = 0; i < 8; i++) {
		gva[i] = (uint64_t)(i + 1) << 39 | (uint64_t)i << 30 | (uint64_t)i << 21 | (uint64_t)i << 12;
		map(&g, gva[i], (DATA + i * PAGE_SIZE) | PAGE_BITS);
	}
	for (uint64_t i = 20; i < 36; i++) {
		map(&g, i << 39, DATA | PAGE_BITS);
		ends(&g, i << 39, MMU_READ, MACHINE_DONE);
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
	struct guest g;

	/* A page with a thousand names becomes a table. */
	guest_create(&g, 16 << 20, POOL);
	for (uint64_t i = 0; i < 1000; i++)
		map(&g, gva + i * PAGE_SIZE, DATA | PAGE_BITS);
	expect(touch_range(&g, gva, 1000, MMU_WRITE) <= 1000 / 8);
	*machine_word(&g.m, entry_of(&g, 0x200000, 2)) = DATA | TABLE_BITS;
	*machine_word(&g.m, DATA) = (DATA + PAGE_SIZE) | PAGE_BITS;
	ends(&g, 0x200000, MMU_WRITE, MACHINE_DONE);
	expect(tables_stats(g.m.tables).recycled > 0);
	expect(tables_is_table(g.m.tables, DATA));
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
	struct guest g;
	uint64_t before;

	guest_create(&g, 100 << 20, POOL);
	for (uint64_t i = 0; i < pages; i++)
		map(&g, gva + i * PAGE_SIZE, (DATA + i * PAGE_SIZE) | PAGE_BITS);
	ends(&g, gva, MMU_READ, MACHINE_DONE);
	before = resident_bytes();
	touch_range(&g, gva, pages, MMU_WRITE);
	expect_msg(resident_bytes() - before <= pages * PAGE_SIZE / 100, "%" PRIu64 " bytes for %" PRIu64 " pages",
		   resident_bytes() - before, pages);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(a_page_is_no_table_any_more)
{
	const uint64_t gva = 0x40000000, window = 0x1000;
	struct guest g;
	uint64_t pd, value = 0;

	guest_create(&g, 16 << 20, POOL);
	map(&g, gva, DATA | PAGE_BITS);
	pd = entry_of(&g, gva, 2) & ~(PAGE_SIZE - 1);
	map(&g, window, pd | PAGE_BITS);
	ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	ends(&g, window, MMU_READ, MACHINE_DONE);

	/* Flooded: the third store is the last that costs an exit. */
	for (unsigned int i = 100; i < 103; i++) {
		expect(ends(&g, window + i * 8, MMU_WRITE, MACHINE_STORE));
		machine_store(&g.m, pd + i * 8, &value, 8);
	}
	expect(!tables_is_table(g.m.tables, pd));
	expect(touch_range(&g, window, 1, MMU_WRITE) <= 1);
	expect_eq(touch_range(&g, window, 1, MMU_WRITE), 0);
	ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, pd));

	/* Not flooded while it is used in between. */
	for (unsigned int i = 100; i < 110; i++) {
		machine_store(&g.m, pd + i * 8, &value, 8);
		map(&g, gva + i * PAGE_SIZE, DATA | PAGE_BITS);
		ends(&g, gva + i * PAGE_SIZE, MMU_READ, MACHINE_DONE);
		*machine_word(&g.m, entry_of(&g, gva + 200 * PAGE_SIZE, 1)) = 0;
	}

	/* An odd store, and a table that nothing leads to any more. */
	machine_store(&g.m, pd + 8 * 100 + 4, &value, 8);
	expect(!tables_is_table(g.m.tables, pd));
	ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	expect(tables_is_table(g.m.tables, pd));
	machine_store(&g.m, entry_of(&g, gva, 3), &value, 8);
	expect(!tables_is_table(g.m.tables, pd));
	ends(&g, gva, MMU_READ, MACHINE_GUEST_FAULT);
	machine_destroy(&g.m);
}
END_TEST

#define WINDOW 0xffff900000000000ull /* where the guest's kernel sees all RAM, in large pages */

static void map_window(struct guest *g)
{
	for (uint64_t gpa = 0; gpa < g->m.ram.size; gpa += 2 << 20)
		*machine_word(&g->m, entry_of(g, WINDOW + gpa, 2)) = gpa | (PAGE_BITS & ~PTE_U) | PTE_PS;
}

/* The guest's kernel stores to its own memory. Returns the exits it took. */
static uint64_t kernel_store(struct guest *g, uint64_t gpa, uint64_t value)
{
	uint64_t before = g->m.exits, at = 0;
	enum machine_verdict v;
	struct walk w;

	g->m.view = VIEW_KERNEL;
	v = machine_access(&g->m, WINDOW + gpa, MMU_WRITE, TRIES, &at, &w);
	expect(v == MACHINE_DONE || v == MACHINE_STORE);
	expect_eq(v == MACHINE_DONE ? at : w.gpa, gpa);
	machine_store(&g->m, gpa, &value, sizeof(value));
	return g->m.exits - before;
}

static void load_cr3(struct guest *g, uint64_t cr3)
{
	g->m.cs.cr3 = cr3;
	tables_load_cr3(g->m.tables, &g->m.cs);
	g->m.exits++;
	machine_check(&g->m);
}

START_TEST(a_whole_table_is_written)
{
	const uint64_t gva = 0x40000000;
	struct guest g;
	uint64_t table, exits = 0;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 512; i++)
		map(&g, gva + i * PAGE_SIZE, DATA | PAGE_BITS);
	touch_range(&g, gva, 512, MMU_WRITE);
	g.m.view = VIEW_USER;
	touch_range(&g, gva, 512, MMU_WRITE);
	table = entry_of(&g, gva, 1);
	expect(tables_is_table(g.m.tables, table));
	for (uint64_t i = 0; i < 512; i++)
		exits += kernel_store(&g, table + i * 8, (DATA + i * PAGE_SIZE) | PAGE_BITS);
	load_cr3(&g, g.m.cs.cr3);
	expect_msg(exits + 1 <= 8, "%" PRIu64 " exits", exits + 1);

	/* A good many edits were saved by exchanging the page, and nothing has to be filled again. */
	expect_eq(touch_range(&g, gva, 512, MMU_WRITE), 0);
	expect(g.m.edits < 50);
	expect_eq(tables_stats(g.m.tables).unsynced, 1);
	machine_destroy(&g.m);
}
END_TEST

/* A process of `pages` pages from gva on, the kernel's half shared; all of it through the kernel's window. */
static uint64_t fork_like(struct guest *g, uint64_t gva, uint64_t pages)
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
		kernel_store(g, table[level] + (gva >> (3 + 9 * level) & 511) * 8, table[level - 1] | TABLE_BITS);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t from = entry_of(g, gva + i * PAGE_SIZE, 1), gpte = *machine_word(&g->m, from) & ~PTE_W;

		kernel_store(g, from, gpte);
		kernel_store(g, table[1] + from % PAGE_SIZE, gpte);
	}
	load_cr3(g, parent);
	return table[4];
}

START_TEST(fork_of_256_pages)
{
	const uint64_t pages = 256, gva = 0x40000000;
	struct guest g;
	uint64_t child, before;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < pages; i++)
		map(&g, gva + i * PAGE_SIZE, (DATA + i * PAGE_SIZE) | PAGE_BITS);
	touch_range(&g, gva, pages, MMU_WRITE);
	g.m.view = VIEW_USER;
	touch_range(&g, gva, pages, MMU_WRITE);
	before = g.m.exits;
	child = fork_like(&g, gva, pages);
	expect_msg(g.m.exits - before <= 20, "%" PRIu64 " exits for the fork", g.m.exits - before);

	/* The child reads all of it, the parent goes on. */
	load_cr3(&g, child);
	g.m.view = VIEW_USER;
	touch_range(&g, gva, pages, MMU_READ);
	load_cr3(&g, child);
	touch_range(&g, gva, pages, MMU_READ);
	expect_msg(g.m.exits - before <= 40, "%" PRIu64 " exits", g.m.exits - before);
	ends(&g, gva, MMU_WRITE, MACHINE_GUEST_FAULT);
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(out_of_sync_until_flushed)
{
	const uint64_t gva = 0x40000000;
	struct guest g;
	uint64_t table, gpa;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 3; i++)
		map(&g, gva + i * PAGE_SIZE, (DATA + i * PAGE_SIZE) | PAGE_BITS);
	touch_range(&g, gva, 3, MMU_WRITE);
	table = entry_of(&g, gva, 1);
	for (uint64_t i = 0; i < 3; i++)
		expect((kernel_store(&g, table + i * 8, 0) > 0) == (i == 0));
	expect(!tables_is_table(g.m.tables, table));
	machine_check(&g.m);

	/* Old ones stay until they are flushed, each for itself; new ones come as they are. */
	tables_invlpg(g.m.tables, &g.m.cs, gva + PAGE_SIZE);
	machine_enter(&g.m);
	expect(machine_touch(&g.m, gva, MMU_WRITE, &gpa) && gpa == DATA);
	expect(!machine_touch(&g.m, gva + PAGE_SIZE, MMU_READ, &gpa));
	expect(machine_touch(&g.m, gva + 2 * PAGE_SIZE, MMU_WRITE, &gpa));
	tables_edits_done(g.m.tables);
	expect_eq(kernel_store(&g, table + 8, (DATA + 7 * PAGE_SIZE) | PAGE_BITS), 0);
	expect_eq(ends(&g, gva + PAGE_SIZE, MMU_WRITE, MACHINE_DONE), 1);
	load_cr3(&g, g.m.cs.cr3);
	expect(tables_is_table(g.m.tables, table));
	ends(&g, gva, MMU_READ, MACHINE_GUEST_FAULT);
	ends(&g, gva + 2 * PAGE_SIZE, MMU_READ, MACHINE_GUEST_FAULT);
	expect_eq(ends(&g, gva + PAGE_SIZE, MMU_WRITE, MACHINE_DONE), 0);
	expect(kernel_store(&g, table, 0) > 0);

	/* It comes to serve as a page directory, too: in sync again. */
	expect(!tables_is_table(g.m.tables, table));
	kernel_store(&g, table, table | PAGE_BITS);
	kernel_store(&g, entry_of(&g, 0x80000000, 3), table | TABLE_BITS);
	ends(&g, 0x80000000, MMU_READ, MACHINE_DONE);
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
	struct guest g;
	uint64_t table;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 200; i++)
		map(&g, gva + i * PAGE_SIZE, (DATA + i * PAGE_SIZE) | PAGE_BITS);
	table = entry_of(&g, gva, 1);
	*machine_word(&g.m, entry_of(&g, other, 2)) = table | TABLE_BITS;
	for (unsigned int view = 0; view < 2; view++) {
		g.m.view = view ? VIEW_USER : VIEW_KERNEL;
		touch_range(&g, gva, 200, MMU_WRITE);
	}
	for (uint64_t i = 0; i < count; i++)
		kernel_store(&g, table + i * 8, 0);
	ends(&g, other + 199 * PAGE_SIZE, MMU_WRITE, MACHINE_DONE);
	for (uint64_t i = 0; i < count; i++)
		ends(&g, other + i * PAGE_SIZE, MMU_WRITE, MACHINE_GUEST_FAULT);
	expect_eq(kernel_store(&g, table, 0), 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(an_emptied_table_is_none_any_more)
{
	const uint64_t gva = 0x40000000;
	struct guest g;
	uint64_t table;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < 40; i++)
		map(&g, gva + i * PAGE_SIZE, DATA | PAGE_BITS);
	touch_range(&g, gva, 40, MMU_WRITE);
	table = entry_of(&g, gva, 1);
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
	struct guest g;

	guest_create(&g, 16 << 20, TABLES_MIN_PAGES);
	map_window(&g);
	map(&g, gva + PAGE_SIZE, DATA | PAGE_BITS);
	for (uint64_t i = 0; i < 200; i++) {
		kernel_store(&g, entry_of(&g, gva, 1), (DATA + i * PAGE_SIZE) | PAGE_BITS);
		load_cr3(&g, g.m.cs.cr3);
		ends(&g, gva, MMU_WRITE, MACHINE_DONE);
	}
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

START_TEST(more_tables_out_of_sync_than_are_let)
{
	const uint64_t gva = 0x40000000, step = 2 << 20;
	struct guest g;

	guest_create(&g, 16 << 20, POOL);
	map_window(&g);
	for (uint64_t i = 0; i < MAX_UNSYNC + 6; i++) {
		map(&g, gva + i * step, DATA | PAGE_BITS);
		map(&g, gva + i * step + PAGE_SIZE, DATA | PAGE_BITS);
		touch_range(&g, gva + i * step, 2, MMU_WRITE);
	}
	for (unsigned int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < MAX_UNSYNC + 6; i++) {
			kernel_store(&g, entry_of(&g, gva + i * step, 1), (DATA + PAGE_SIZE * round) | PAGE_BITS);
			kernel_store(&g, entry_of(&g, gva + i * step + PAGE_SIZE, 1), (DATA + PAGE_SIZE * round) | PAGE_BITS);
		}
		expect(tables_is_table(g.m.tables, entry_of(&g, gva + (MAX_UNSYNC + 5) * step, 1)));
		load_cr3(&g, g.m.cs.cr3);
	}
	expect_eq(tables_stats(g.m.tables).recycled, 0);
	machine_destroy(&g.m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shadow_tables");
	TCase *tc = tcase_create("shadow_tables");
	SRunner *sr = srunner_create(s);
	int failed;

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
	tcase_add_test(tc, a_whole_table_is_written);
	tcase_add_test(tc, fork_of_256_pages);
	tcase_add_test(tc, out_of_sync_until_flushed);
	tcase_add_loop_test(tc, a_new_way_to_a_table_out_of_sync, 0, 2);
	tcase_add_test(tc, an_emptied_table_is_none_any_more);
	tcase_add_test(tc, a_change_now_and_then_costs_no_page);
	tcase_add_test(tc, more_tables_out_of_sync_than_are_let);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
