/*
 * Tables lent to the guest for one instruction, one property at a time, under a simulated CPU (shadow_machine.h). For
 * everything at once see shadow_lives.c.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/shadow_machine.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define RAM (16ull << 20)
#define POOL 512u
#define TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_BITS (TABLE_BITS | PTE_D)
#define TRIES 8u

#define SLOT(level, index) ((uint64_t)(index) << (12 + 9 * ((level) - 1)))

/*
 * A guest whose tables lie at fixed places, each mapped as a page in slot 1: WINDOW(i) is TABLE(i). Slot 2 leads to PDPT,
 * whose first two entries lead to PD_A and PD_B, whose entries lead to LEAF(0), LEAF(1), ..., each of which maps
 * one page of data. Slot 3 is the root itself.
 */
#define TABLE(i) (0x100000ull + (i) * PAGE_SIZE)
enum { ROOT, WINDOW_PDPT, WINDOW_PD, WINDOW_PT, PDPT, PD_A, PD_B, LEAVES, TABLES = LEAVES + 64 };

#define LEAF(i) TABLE(LEAVES + (i))
#define DATA(i) (0x400000ull + (i) * PAGE_SIZE)
#define WINDOW(i) (SLOT(4, 1) | SLOT(1, i))
#define A(i) (SLOT(4, 2) | SLOT(2, i))
#define B(i) (SLOT(4, 2) | SLOT(3, 1) | SLOT(2, i))

static uint64_t *entry(struct machine *m, unsigned int table, unsigned int i)
{
	return machine_word(m, TABLE(table) + i * 8);
}

static void guest_create(struct machine *m)
{
	machine_create(m, RAM, POOL);
	m->cs.cr3 = TABLE(ROOT);
	*entry(m, ROOT, 1) = TABLE(WINDOW_PDPT) | TABLE_BITS;
	*entry(m, ROOT, 2) = TABLE(PDPT) | TABLE_BITS;
	*entry(m, ROOT, 3) = TABLE(ROOT) | PAGE_BITS;
	*entry(m, WINDOW_PDPT, 0) = TABLE(WINDOW_PD) | TABLE_BITS;
	*entry(m, WINDOW_PD, 0) = TABLE(WINDOW_PT) | TABLE_BITS;
	*entry(m, PDPT, 0) = TABLE(PD_A) | PAGE_BITS;
	*entry(m, PDPT, 1) = TABLE(PD_B) | PAGE_BITS;
	for (unsigned int i = 0; i < TABLES; i++)
		*entry(m, WINDOW_PT, i) = TABLE(i) | PAGE_BITS;
	for (unsigned int i = 0; i < 64; i++) {
		*machine_word(m, LEAF(i)) = DATA(i) | PAGE_BITS;
		*entry(m, PD_A, i) = *entry(m, PD_B, i) = LEAF(i) | TABLE_BITS;
	}
}

static enum machine_verdict access_of(struct machine *m, uint64_t gva, unsigned int access, uint64_t *gpa)
{
	struct walk w;

	return machine_access(m, gva, access, TRIES, gpa, &w);
}

static void leads_to(struct machine *m, uint64_t gva, uint64_t expected)
{
	uint64_t gpa = 0;

	expect_eq(access_of(m, gva, MMU_READ, &gpa), MACHINE_DONE);
	expect_eq(gpa, expected);
	machine_check(m);
}

static void must_be_store(struct machine *m, uint64_t gva)
{
	uint64_t gpa;

	expect_eq(access_of(m, gva, MMU_WRITE, &gpa), MACHINE_STORE);
}

static void lend(struct machine *m, uint64_t gva)
{
	uint64_t gpa = 0;

	machine_lend(m, &gva, 1, SIZE_MAX);
	expect(tables_lent(m->tables));
	expect(machine_touch(m, gva, MMU_WRITE, &gpa));
	machine_check(m);
}

static void take_back(struct machine *m)
{
	tables_edits_done(m->tables);
	tables_take_back(m->tables);
	expect(!tables_lent(m->tables));
	machine_check(m);
}

START_TEST(an_entry_changes)
{
	struct machine m;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	leads_to(&m, A(1), DATA(1));
	must_be_store(&m, WINDOW(PD_A));
	lend(&m, WINDOW(PD_A));
	*entry(&m, PD_A, 0) = LEAF(5) | TABLE_BITS;
	take_back(&m);
	/* At once: the guest need not flush to see it, though it could not rely on that. */
	leads_to(&m, A(0), DATA(5));
	leads_to(&m, A(1), DATA(1));
	must_be_store(&m, WINDOW(PD_A));
	machine_destroy(&m);
}
END_TEST

/* Only the one way is open, whatever else leads there. */
START_TEST(one_way_is_writable)
{
	struct machine m;
	uint64_t gpa;

	guest_create(&m);
	*entry(&m, WINDOW_PT, TABLES) = TABLE(PD_A) | PAGE_BITS;
	leads_to(&m, A(0), DATA(0));
	leads_to(&m, WINDOW(TABLES), TABLE(PD_A));
	lend(&m, WINDOW(PD_A));
	expect(!machine_touch(&m, WINDOW(TABLES), MMU_WRITE, &gpa));
	take_back(&m);
	machine_destroy(&m);
}
END_TEST

START_TEST(two_at_once)
{
	const uint64_t gva[] = {WINDOW(PD_A) + 0xff8, WINDOW(PD_B)};
	struct machine m;
	uint64_t gpa;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	leads_to(&m, B(0), DATA(0));
	machine_lend(&m, gva, 2, SIZE_MAX);
	expect_eq(m.tables->loans, 2);
	expect(machine_touch(&m, gva[0], MMU_WRITE, &gpa) && machine_touch(&m, gva[1], MMU_WRITE, &gpa));
	*entry(&m, PD_A, 511) = LEAF(3) | TABLE_BITS;
	*entry(&m, PD_B, 0) = LEAF(4) | TABLE_BITS;
	take_back(&m);
	leads_to(&m, A(511), DATA(3));
	leads_to(&m, B(0), DATA(4));
	must_be_store(&m, gva[0]);
	must_be_store(&m, gva[1]);
	machine_destroy(&m);
}
END_TEST

/* As many entries as there are, of a table on either side of how many edits are spent on. */
START_TEST(many_entries_change)
{
	static const unsigned int counts[] = {1, 24, 25, 63};
	struct machine m;

	for (unsigned int n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
		guest_create(&m);
		for (unsigned int i = 0; i < 64; i++)
			leads_to(&m, A(i), DATA(i));
		lend(&m, WINDOW(PD_A));
		for (unsigned int i = 0; i < counts[n]; i++)
			*entry(&m, PD_A, i) = LEAF(63 - i) | TABLE_BITS;
		take_back(&m);
		for (unsigned int i = 0; i < 64; i++)
			leads_to(&m, A(i), DATA(i < counts[n] ? 63 - i : i));
		machine_destroy(&m);
	}
}
END_TEST

/* The root is in use, leads to itself, and the loan goes through it. */
START_TEST(the_root_through_itself)
{
	const uint64_t self = SLOT(4, 3) | SLOT(3, 3) | SLOT(2, 3) | SLOT(1, 3);
	struct machine m;

	guest_create(&m);
	for (unsigned int i = 4; i < 40; i++)
		*entry(&m, ROOT, i) = *entry(&m, ROOT, 2);
	for (unsigned int i = 4; i < 40; i++)
		leads_to(&m, SLOT(4, i), DATA(0));
	must_be_store(&m, self);
	lend(&m, self);
	for (unsigned int i = 4; i < 40; i++)
		*entry(&m, ROOT, i) = TABLE(WINDOW_PDPT) | TABLE_BITS;
	take_back(&m);
	for (unsigned int i = 4; i < 40; i++)
		leads_to(&m, SLOT(4, i), TABLE(ROOT));
	leads_to(&m, self, TABLE(ROOT));
	must_be_store(&m, self);
	/* The way to itself goes. */
	lend(&m, self);
	*entry(&m, ROOT, 3) = 0;
	take_back(&m);
	leads_to(&m, A(7), DATA(7));
	machine_destroy(&m);
}
END_TEST

START_TEST(nothing_was_written)
{
	struct machine m;
	uint64_t edits;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	must_be_store(&m, WINDOW(PD_A));
	edits = m.edits;
	for (unsigned int i = 0; i < 2; i++) {
		lend(&m, WINDOW(PD_A));
		take_back(&m);
		leads_to(&m, A(0), DATA(0));
	}
	/* Each time the page is protected again, and nothing else changes. */
	expect_eq(m.edits - edits, 2);
	machine_destroy(&m);
}
END_TEST

/* Stores that nobody's use of the table comes between: it is taken for data, and lent no more. */
START_TEST(flooded)
{
	struct machine m;
	uint64_t gpa;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	for (unsigned int i = 0; i < 3; i++) {
		must_be_store(&m, WINDOW(PD_A));
		lend(&m, WINDOW(PD_A));
		take_back(&m);
	}
	expect_eq(access_of(&m, WINDOW(PD_A), MMU_WRITE, &gpa), MACHINE_DONE);
	machine_destroy(&m);
}
END_TEST

/* What may not be written to, is no table or no RAM is not lent. */
START_TEST(what_is_not_lent)
{
	const uint64_t gva[] = {WINDOW(PD_A), A(0), SLOT(4, 9), SLOT(4, 256), 1ull << 50};
	struct machine m;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	*entry(&m, WINDOW_PT, PD_A) &= ~PTE_W;
	machine_lend(&m, gva, 5, SIZE_MAX);
	expect(!tables_lent(m.tables));
	take_back(&m);
	/* Nor is a table out of sync, which is writable anyhow. */
	machine_lend(&m, (uint64_t[]){WINDOW(LEAVES)}, 1, SIZE_MAX);
	expect(!tables_lent(m.tables));
	take_back(&m);
	machine_destroy(&m);
}
END_TEST

/* A and D say what the store would have left, and it is one: the walk's last entry alone gets D. */
START_TEST(marks)
{
	struct machine m;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	*entry(&m, WINDOW_PT, PD_A) &= ~(PTE_A | PTE_D);
	lend(&m, WINDOW(PD_A));
	expect_eq(*entry(&m, WINDOW_PT, PD_A) & (PTE_A | PTE_D), PTE_A | PTE_D);
	expect_eq(*entry(&m, WINDOW_PD, 0) & PTE_D, 0);
	take_back(&m);
	machine_destroy(&m);
}
END_TEST

/* While a loan stands, the VMM may store to the table, and everything may be dropped. */
START_TEST(ends_otherwise)
{
	struct machine m;

	guest_create(&m);
	leads_to(&m, A(0), DATA(0));
	lend(&m, WINDOW(PD_A));
	tables_forget(m.tables, TABLE(PD_A), 8);
	*entry(&m, PD_A, 0) = LEAF(2) | TABLE_BITS;
	machine_check(&m);
	take_back(&m);
	leads_to(&m, A(0), DATA(2));
	must_be_store(&m, WINDOW(PD_A));
	lend(&m, WINDOW(PD_A));
	*entry(&m, PD_A, 0) = LEAF(3) | TABLE_BITS;
	tables_drop_all(m.tables);
	expect(!tables_lent(m.tables));
	tables_take_back(m.tables);
	leads_to(&m, A(0), DATA(3));
	must_be_store(&m, WINDOW(PD_A));
	machine_destroy(&m);
}
END_TEST

/* A kick on the way out, none or all of the edits made: they come again. */
START_TEST(kicked_on_the_way_out)
{
	struct machine m;

	for (size_t edits = 0; edits < 3; edits++) {
		guest_create(&m);
		leads_to(&m, A(0), DATA(0));
		leads_to(&m, A(1), DATA(1));
		*entry(&m, PD_A, 1) = LEAF(9) | TABLE_BITS;
		tables_stored(m.tables, TABLE(PD_A) + 8, 8);
		machine_lend(&m, (uint64_t[]){WINDOW(PD_A)}, 1, edits);
		machine_check(&m);
		tables_take_back(m.tables);
		machine_check(&m);
		leads_to(&m, A(1), DATA(9));
		must_be_store(&m, WINDOW(PD_A));
		machine_destroy(&m);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_entry_changes, one_way_is_writable, two_at_once, many_entries_change, the_root_through_itself,
		nothing_was_written, flooded, what_is_not_lent, marks, ends_otherwise, kicked_on_the_way_out,
	};

	return RUN_TESTS("shadow_loans", tests);
}
