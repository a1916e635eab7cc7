/*
 * The shadow tables under a simulated CPU (shadow_machine.h), against the guest's own tables: random tables with all that
 * guests can do wrong in them, random accesses, stores, modes, roots and interruptions, the checker after every step; then
 * single properties, and how many exits things cost.
 */
#include "shadow/tables.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_machine.h"
#include "vmm/mmu.h"

#define RAM (8ull << 20)
#define POOL 512u
#define TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_BITS (TABLE_BITS | PTE_D)

/* The zone: pages that are tables to some and data to others. Entries only at a few indexes, so that random gvas get far. */
#define ZONE 0x1fa000ull
#define ZONE_PAGES 14u /* crosses a 2 MiB border */
#define TRIES 16u

static const unsigned int indexes[] = {0, 1, 2, 31, 32, 256, 257, 511};

#define INDEXES (sizeof(indexes) / sizeof(indexes[0]))

static bool one_in(struct random *r, unsigned int n)
{
	return random_below(r, n) == 0;
}

static uint64_t random_zone_page(struct random *r)
{
	return ZONE + random_below(r, ZONE_PAGES) * PAGE_SIZE;
}

static uint64_t random_target(struct random *r)
{
	switch (random_below(r, 16)) {
	case 0:
		return RAM - PAGE_SIZE + random_below(r, 4) * PAGE_SIZE;
	case 1:
		return MACHINE_POOL_GPA + random_below(r, 64) * PAGE_SIZE;
	case 2:
		return 0xd0000000;
	case 3:
	case 4:
	case 5:
		return random_below(r, RAM / PAGE_SIZE) * PAGE_SIZE;
	case 6:
	case 7:
		return random_below(r, 5) << 21;
	default:
		return random_zone_page(r);
	}
}

static uint64_t random_gpte(struct random *r)
{
	uint64_t gpte = random_target(r) | TABLE_BITS | PTE_D;

	if (one_in(r, 3))
		gpte ^= 1ull << random_below(r, 7);
	if (one_in(r, 6))
		gpte ^= 1ull << random_below(r, 7);
	if (one_in(r, 6))
		gpte |= PTE_PS;
	if (one_in(r, 6))
		gpte |= PTE_NX;
	if (one_in(r, 20))
		gpte |= 1ull << random_below(r, 64);
	return gpte;
}

static uint64_t random_entry(struct random *r)
{
	return random_zone_page(r) + indexes[random_below(r, INDEXES)] * sizeof(uint64_t);
}

static uint64_t random_gva(struct random *r)
{
	uint64_t gva = random_below(r, PAGE_SIZE / 8) * 8;

	for (int level = 1; level <= 4; level++)
		gva |= (uint64_t)indexes[random_below(r, INDEXES)] << (3 + 9 * level);
	if (gva >> 47)
		gva |= 0xffffull << 48;
	if (one_in(r, 200))
		gva ^= 1ull << 60;
	return gva;
}

static void fill_zone(struct machine *m, struct random *r)
{
	for (uint64_t page = ZONE; page < ZONE + ZONE_PAGES * PAGE_SIZE; page += PAGE_SIZE) {
		for (unsigned int i = 0; i < INDEXES; i++)
			*machine_word(m, page + indexes[i] * sizeof(uint64_t)) = random_gpte(r);
	}
}

static void check(struct machine *m)
{
	const char *broken = tables_check(m->tables);

	expect_msg(!broken, "%s", broken);
}

/* What the guest's CPU would do with an access, and leave in its tables. */
struct expected {
	struct walk walk;
	bool ram, monitor;
	uint64_t zone[ZONE_PAGES * PAGE_SIZE / 8];
};

static void mark_expected(struct expected *e, unsigned int access)
{
	const struct walk *w = &e->walk;

	for (int level = 4; level >= w->level; level--) {
		uint64_t at = (w->gpte_gpa[level] - ZONE) / 8;

		if (at < sizeof(e->zone) / 8)
			e->zone[at] |= PTE_A | (level == w->level && (access & MMU_WRITE) ? PTE_D : 0);
	}
}

static void expect_access(struct machine *m, uint64_t gva, unsigned int access, struct expected *e)
{
	walk_guest(&m->ram, &m->cs, gva, access, &e->walk);
	e->ram = !e->walk.fault && mem_at(&m->ram, e->walk.gpa, 1, MEM_READ);
	e->monitor = (gva >> 39 & 511) == 256;
	memcpy(e->zone, machine_word(m, ZONE), sizeof(e->zone));
}

static void compare(struct machine *m, struct expected *e, unsigned int access, enum machine_verdict v, uint64_t gpa,
		    const struct walk *w)
{
	uint32_t error = e->walk.fault ? e->walk.error : (access & MMU_WRITE ? 2 : 0) | (access & MMU_USER ? 4 : 0);

	if (e->walk.fault || e->monitor) {
		expect_eq(v, MACHINE_GUEST_FAULT);
		expect_eq(w->error & ~(e->walk.fault ? 0 : PF_FETCH), error);
	} else if (!e->ram) {
		expect_eq(v, MACHINE_DEVICE);
		expect_eq(w->gpa, e->walk.gpa);
	} else if (v == MACHINE_STORE) {
		expect(access & MMU_WRITE);
		expect_eq(w->gpa, e->walk.gpa);
		expect(tables_is_table(m->tables, w->gpa));
	} else {
		expect_eq(v, MACHINE_DONE);
		expect_eq(gpa, e->walk.gpa);
		mark_expected(e, access);
	}
	/* Where the access is emulated, A and D may have been set already, but for this very access only. */
	if (v == MACHINE_STORE && memcmp(e->zone, machine_word(m, ZONE), sizeof(e->zone)) != 0)
		mark_expected(e, access);
	expect(memcmp(e->zone, machine_word(m, ZONE), sizeof(e->zone)) == 0);
}

/* One random access, and if it is a write, what it writes: mostly something that makes sense in a table. */
static void access_step(struct machine *m, struct random *r)
{
	static const unsigned int kinds[] = {MMU_READ, MMU_READ, MMU_WRITE, MMU_WRITE, MMU_EXEC};
	uint64_t gva = random_gva(r), gpa = 0, value = random_gpte(r);
	unsigned int access = kinds[random_below(r, 5)];
	enum machine_verdict v;
	struct expected e;
	struct walk w;

	m->view = one_in(r, 2) ? VIEW_USER : VIEW_KERNEL;
	access |= m->view == VIEW_USER ? MMU_USER : 0;
	expect_access(m, gva, access, &e);
	v = machine_access(m, gva, access, TRIES, &gpa, &w);
	compare(m, &e, access, v, gpa, &w);
	if (!(access & MMU_WRITE))
		return;
	if (v == MACHINE_DONE) {
		expect(!tables_is_table(m->tables, gpa));
		*machine_word(m, gpa) = value;
	} else if (v == MACHINE_STORE) {
		expect(walk_mark(&m->ram, &e.walk, access));
		machine_store(m, w.gpa, &value, sizeof(value));
	}
}

static void store_step(struct machine *m, struct random *r)
{
	static const unsigned int sizes[] = {8, 8, 8, 8, 8, 8, 4, 1, 2, 16, 8};
	uint64_t value[3] = {random_gpte(r), random_gpte(r), 0}, gpa = random_entry(r);
	unsigned int size = sizes[random_below(r, sizeof(sizes) / sizeof(sizes[0]))];

	if (one_in(r, 3))
		value[0] = *machine_word(m, gpa) ^ 1ull << random_below(r, 7);
	if (one_in(r, 10))
		gpa += random_below(r, 16);
	machine_store(m, gpa, value, size);
}

static void forget_step(struct machine *m, struct random *r)
{
	uint64_t gpa = random_entry(r), pages = one_in(r, 4) ? RAM / PAGE_SIZE : 1;

	if (pages > 1)
		tables_forget(m->tables, 0, RAM);
	else
		tables_forget(m->tables, gpa, 8);
	expect(!tables_is_table(m->tables, gpa));
	*machine_word(m, gpa) = random_gpte(r);
}

static void mode_step(struct machine *m, struct random *r)
{
	switch (random_below(r, 3)) {
	case 0:
		m->cs.cr0 ^= CR0_WP;
		break;
	case 1:
		m->cs.cr4 ^= CR4_SMEP;
		break;
	default:
		m->cs.efer ^= EFER_NXE;
		break;
	}
}

static void cr3_step(struct machine *m, struct random *r)
{
	m->cs.cr3 = one_in(r, 20) ? random_target(r) : random_zone_page(r);
	if (one_in(r, 10))
		m->cs.cr3 |= 0x18;
	tables_load_cr3(m->tables, &m->cs);
}

static void invlpg_step(struct machine *m, struct random *r)
{
	tables_invlpg(m->tables, &m->cs, random_gva(r));
}

static void kick_step(struct machine *m, struct random *r)
{
	machine_enter_and_kick(m, random_below(r, 4));
}

static void run_on_step(struct machine *m, struct random *r)
{
	machine_enter(m);
	tables_edits_done(m->tables);
}

static void drop_step(struct machine *m, struct random *r)
{
	tables_drop_all(m->tables);
}

static const struct step {
	unsigned int weight;
	void (*run)(struct machine *m, struct random *r);
} steps[] = {
	{600, access_step}, {200, store_step}, {20, forget_step}, {10, mode_step}, {60, cr3_step}, {10, invlpg_step},
	{30, kick_step}, {30, run_on_step}, {1, drop_step},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void random_step(struct machine *m, struct random *r)
{
	unsigned int sum = 0, at;

	for (unsigned int i = 0; i < STEPS; i++)
		sum += steps[i].weight;
	at = (unsigned int)random_below(r, sum);
	for (unsigned int i = 0; i < STEPS; i++) {
		if (at < steps[i].weight) {
			steps[i].run(m, r);
			return;
		}
		at -= steps[i].weight;
	}
}

static void random_life(struct random *r, uint32_t pool, unsigned int count, unsigned int check_every)
{
	struct machine m;

	machine_create(&m, RAM, pool);
	fill_zone(&m, r);
	m.cs.cr3 = random_zone_page(r);
	for (unsigned int i = 1; i <= count; i++) {
		random_step(&m, r);
		if (i % check_every == 0)
			check(&m);
	}
	machine_destroy(&m);
}

static unsigned int times(unsigned int n)
{
	const char *factor = getenv("TIMES");

	return factor ? n * (unsigned int)atoi(factor) : n;
}

START_TEST(random_lives_checked_at_every_step)
{
	struct random r = random_start("random_lives_checked_at_every_step");

	for (unsigned int i = 0; i < times(60); i++)
		random_life(&r, POOL, 200, 1);
}
END_TEST

START_TEST(random_lives_in_a_tiny_pool)
{
	struct random r = random_start("random_lives_in_a_tiny_pool");

	for (unsigned int i = 0; i < times(40); i++)
		random_life(&r, TABLES_MIN_PAGES, 300, 3);
}
END_TEST

START_TEST(long_random_lives)
{
	struct random r = random_start("long_random_lives");

	for (unsigned int i = 0; i < times(10); i++)
		random_life(&r, POOL, 10000, 500);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("shadow_tables");
	TCase *tc = tcase_create("shadow_tables");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, random_lives_checked_at_every_step);
	tcase_add_test(tc, random_lives_in_a_tiny_pool);
	tcase_add_test(tc, long_random_lives);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
