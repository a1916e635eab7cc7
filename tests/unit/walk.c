/*
 * The guest-table walk against a naive oracle, over combinations of P, W, U, NX and PS at every level, with every kind
 * of access and every CR0.WP, EFER.NXE and CR4.SMEP: exhaustive for two levels at a time, random for all four. Then
 * what the second step leaves in the entries.
 */
#include "vmm/walk.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

#define RAM (4ull << 20)
#define TABLE(level) (0x10000ull * (uint64_t)(level)) /* one table for each level */
#define DATA 0x200000ull			       /* 2 MiB border, so that it serves as a large page */
#define GVA 0x0000123456789abcull

static struct mem ram;

static uint64_t index_of(uint64_t gva, int level)
{
	return gva >> (12 + 9 * (level - 1)) & 511;
}

static uint64_t *entry(int level)
{
	uint64_t *table = mem_at(&ram, TABLE(level), PAGE_SIZE, MEM_WRITE);

	return &table[index_of(GVA, level)];
}

/* What a page-table entry can say, by bits of a small number. */
struct bits {
	bool present, write, user, no_exec, large;
};

static struct bits bits_of(unsigned int n)
{
	return (struct bits){ n & 1, n & 2, n & 4, n & 8, n & 16 };
}

static void set_entry(int level, const struct bits *b)
{
	uint64_t target = level == 1 || (level == 2 && b->large) ? DATA : TABLE(level - 1);

	*entry(level) = target | (b->present ? 1 : 0) | (b->write ? 2 : 0) | (b->user ? 4 : 0) |
			(b->large && level > 1 ? 0x80 : 0) | (b->no_exec ? 1ull << 63 : 0);
}

struct want {
	bool user, write, exec;	   /* the access */
	bool wp, nxe, smep;	   /* the mode */
};

/* Oracle: reads like the manual's prose, one rule after the other. Returns the error code, or -1 for no fault. */
static int oracle(const struct bits *levels, const struct want *w)
{
	bool write = true, user = true, exec = true;
	int code = (w->write ? 2 : 0) | (w->user ? 4 : 0) | (w->exec && (w->nxe || w->smep) ? 16 : 0);

	for (int level = 4; level >= 1; level--) {
		const struct bits *b = &levels[level];

		if (!b->present)
			return code;
		if (b->no_exec && !w->nxe)
			return code | 1 | 8;
		if (b->large && level >= 3)
			return code | 1 | 8;
		write = write && b->write;
		user = user && b->user;
		exec = exec && !b->no_exec;
		if (b->large && level == 2)
			break;
	}
	if (w->user && !user)
		return code | 1;
	if (w->write && !write && (w->user || w->wp))
		return code | 1;
	if (w->exec && (!exec || (w->smep && user && !w->user)))
		return code | 1;
	return -1;
}

static struct cpu_state mode_of(const struct want *w)
{
	return (struct cpu_state){
		.cr0 = CR0_PE | CR0_PG | (w->wp ? CR0_WP : 0),
		.cr3 = TABLE(4),
		.cr4 = CR4_PAE | (w->smep ? CR4_SMEP : 0),
		.efer = EFER_LME | EFER_LMA | (w->nxe ? EFER_NXE : 0),
	};
}

static void check_walk(const struct bits *levels, const struct want *w)
{
	struct cpu_state cs = mode_of(w);
	unsigned int access = (w->write ? MMU_WRITE : 0) | (w->exec ? MMU_EXEC : 0) | (w->user ? MMU_USER : 0);
	int expected = oracle(levels, w);
	struct walk got;

	walk_guest(&ram, &cs, GVA, access, &got);
	ck_assert_int_eq(got.fault ? (int)got.error : -1, expected);
	if (!got.fault)
		ck_assert_uint_eq(got.gpa, DATA + (levels[2].large ? GVA & 0x1fffff : GVA & 0xfff));
}

static void check_all_accesses(const struct bits *levels)
{
	for (unsigned int n = 0; n < 64; n++) {
		struct want w = { n & 1, n & 2, n & 4, n & 8, n & 16, n & 32 };

		if (!(w.write && w.exec))
			check_walk(levels, &w);
	}
}

static void set_and_check(const unsigned int n[5])
{
	struct bits levels[5];

	for (int level = 4; level >= 1; level--) {
		levels[level] = bits_of(n[level]);
		set_entry(level, &levels[level]);
	}
	check_all_accesses(levels);
}

#define OPEN 7u /* present, writable, user */
#define SAYS_MAX 32u

START_TEST(every_pair_of_lower_entries)
{
	for (unsigned int i = 0; i < SAYS_MAX * SAYS_MAX; i++)
		set_and_check((const unsigned int[]){ 0, i % SAYS_MAX, i / SAYS_MAX, OPEN, OPEN });
}
END_TEST

START_TEST(every_pair_of_upper_entries)
{
	for (unsigned int i = 0; i < SAYS_MAX * SAYS_MAX; i++)
		set_and_check((const unsigned int[]){ 0, OPEN, OPEN, i % SAYS_MAX, i / SAYS_MAX });
}
END_TEST

START_TEST(random_entries)
{
	struct random r = random_start("walk");

	for (unsigned int i = 0; i < 4000; i++) {
		uint64_t x = random_next(&r);

		/* Mostly present, or hardly any walk would get to the bottom. */
		set_and_check((const unsigned int[]){ 0, (x & 31) | (x >> 32 & 1), (x >> 5 & 31) | (x >> 33 & 1),
						      (x >> 10 & 15) | 1, (x >> 14 & 15) | 1 });
	}
}
END_TEST

static const struct bits open_bits = { .present = true, .write = true, .user = true };

static void open_all(void)
{
	for (int level = 4; level >= 1; level--)
		set_entry(level, &open_bits);
}

static struct walk walk_read(uint64_t gva)
{
	struct cpu_state cs = mode_of(&(struct want){ .wp = true, .nxe = true });
	struct walk w;

	walk_guest(&ram, &cs, gva, MMU_READ, &w);
	return w;
}

START_TEST(tells_the_entries_it_read)
{
	struct walk w;

	open_all();
	w = walk_read(GVA);
	ck_assert_int_eq(w.level, 1);
	for (int level = 4; level >= 1; level--) {
		ck_assert_uint_eq(w.gpte_gpa[level], TABLE(level) + 8 * index_of(GVA, level));
		ck_assert_uint_eq(w.gpte[level], *entry(level));
	}
}
END_TEST

START_TEST(reserved_address_bits_fault)
{
	for (int level = 4; level >= 1; level--)
		for (unsigned int bit = 40; bit < 52; bit++) {
			open_all();
			*entry(level) |= 1ull << bit;
			ck_assert_uint_eq(walk_read(GVA).error, PF_PRESENT | PF_RESERVED);
		}
	for (unsigned int bit = 12; bit < 21; bit++) {
		open_all();
		*entry(2) = DATA | 0x87 | 1ull << bit;
		ck_assert_int_eq(walk_read(GVA).fault, bit > 12);
	}
}
END_TEST

START_TEST(tables_outside_ram_fault)
{
	for (int level = 4; level >= 2; level--) {
		open_all();
		*entry(level) = 0xfffffff000ull | 7;
		ck_assert_int_eq(walk_read(GVA).fault, 1);
	}
}
END_TEST

START_TEST(only_canonical_addresses)
{
	open_all();
	ck_assert_int_eq(walk_read(GVA | 0xffff000000000000ull).fault, 1);
	ck_assert_int_eq(walk_read(GVA | 1ull << 47).fault, 1);
	ck_assert_int_eq(walk_read(GVA).fault, 0);
}
END_TEST

START_TEST(without_paging_gva_is_gpa)
{
	struct cpu_state cs = { .cr0 = CR0_PE };
	struct walk w;

	walk_guest(&ram, &cs, 0x1234, MMU_WRITE | MMU_USER, &w);
	ck_assert_int_eq(w.fault, 0);
	ck_assert_uint_eq(w.gpa, 0x1234);
}
END_TEST

/* Pages of tables that the door was told of, by level. */
struct dirtied {
	struct mem_listener listener;
	unsigned int count[5];
};

static void count_dirtied(struct mem_listener *l, uint64_t gpa, uint64_t size)
{
	struct dirtied *d = (struct dirtied *)l;

	for (int level = 1; level <= 4; level++)
		d->count[level] += gpa == TABLE(level) && size == PAGE_SIZE;
}

#define A 0x20ull
#define D 0x40ull

/* Random entries with random A and D, all open; returns the leaf's level. */
static int random_marks(struct random *r, uint64_t entries[5])
{
	int leaf = random_below(r, 2) ? 1 : 2;

	for (int level = 4; level >= 1; level--) {
		set_entry(level, level == 2 && leaf == 2 ? &(struct bits){ true, true, true, false, true } : &open_bits);
		*entry(level) |= random_next(r) & (A | D | 0xe00);
		entries[level] = *entry(level);
	}
	return leaf;
}

START_TEST(marks_what_hardware_would_mark)
{
	struct random r = random_start("marks");
	struct cpu_state cs = mode_of(&(struct want){ .wp = true, .nxe = true });

	for (unsigned int i = 0; i < 2000; i++) {
		struct dirtied d = { .listener = { .dirtied = count_dirtied } };
		bool write = random_below(&r, 2);
		uint64_t before[5];
		int leaf = random_marks(&r, before);
		struct walk w;

		mem_listen(&ram, &d.listener);
		walk_guest(&ram, &cs, GVA, write ? MMU_WRITE : MMU_READ, &w);
		for (int level = 1; level <= 4; level++)
			ck_assert(*entry(level) == before[level]);
		memset(d.count, 0, sizeof(d.count));
		ck_assert(walk_mark(&ram, &w, write ? MMU_WRITE : MMU_READ));
		mem_unlisten(&ram, &d.listener);
		for (int level = 1; level <= 4; level++) {
			uint64_t now = before[level] | (level >= leaf ? A : 0) | (level == leaf && write ? D : 0);

			ck_assert_uint_eq(*entry(level), now);
			ck_assert_uint_eq(d.count[level], now != before[level]);
			if (level >= leaf)
				ck_assert_uint_eq(w.gpte[level], now);
		}
	}
}
END_TEST

START_TEST(a_changed_entry_is_not_marked)
{
	for (int level = 4; level >= 1; level--)
		for (unsigned int bit = 0; bit < 64; bit++) {
			struct cpu_state cs = mode_of(&(struct want){ .nxe = true });
			uint64_t changed, below[5];
			bool only_a_mark = bit == 5 || bit == 6;
			struct walk w;

			open_all();
			walk_guest(&ram, &cs, GVA, MMU_WRITE, &w);
			changed = *entry(level) ^= 1ull << bit;
			for (int l = 1; l <= 4; l++)
				below[l] = *entry(l);
			ck_assert_int_eq(walk_mark(&ram, &w, MMU_WRITE), only_a_mark);
			if (only_a_mark)
				continue;
			ck_assert_uint_eq(*entry(level), changed);
			for (int l = 1; l < level; l++)
				ck_assert_uint_eq(*entry(l), below[l]);
		}
}
END_TEST

/* Slot 511 of the top table leads to the table itself: one entry is met at all four levels, at the last one as a page. */
START_TEST(marks_a_table_that_maps_itself)
{
	struct cpu_state cs = mode_of(&(struct want){ .nxe = true });
	uint64_t *table = mem_at(&ram, TABLE(4), PAGE_SIZE, MEM_WRITE);
	struct walk w;

	table[511] = TABLE(4) | 7;
	walk_guest(&ram, &cs, 0xfffffffffffff000ull, MMU_WRITE, &w);
	ck_assert_int_eq(w.fault, 0);
	ck_assert_uint_eq(w.gpa, TABLE(4));
	ck_assert(walk_mark(&ram, &w, MMU_WRITE));
	ck_assert_uint_eq(table[511], TABLE(4) | 7 | A | D);
}
END_TEST

START_TEST(without_paging_nothing_is_marked)
{
	struct cpu_state cs = { .cr0 = CR0_PE };
	struct walk w;

	walk_guest(&ram, &cs, 0x1234, MMU_WRITE, &w);
	ck_assert(walk_mark(&ram, &w, MMU_WRITE));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("walk");
	int status;

	if (mem_create(&ram, RAM, MEM_HUGE_NEVER) < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_pair_of_lower_entries);
	tcase_add_test(tcase, every_pair_of_upper_entries);
	tcase_add_test(tcase, random_entries);
	tcase_add_test(tcase, tells_the_entries_it_read);
	tcase_add_test(tcase, reserved_address_bits_fault);
	tcase_add_test(tcase, tables_outside_ram_fault);
	tcase_add_test(tcase, only_canonical_addresses);
	tcase_add_test(tcase, without_paging_gva_is_gpa);
	tcase_add_test(tcase, marks_what_hardware_would_mark);
	tcase_add_test(tcase, a_changed_entry_is_not_marked);
	tcase_add_test(tcase, marks_a_table_that_maps_itself);
	tcase_add_test(tcase, without_paging_nothing_is_marked);
	status = run_case("walk", tcase);
	mem_destroy(&ram);
	return status;
}
