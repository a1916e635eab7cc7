/*
 * The shadow tables in random lives: random guest tables with all that guests can do wrong in them, random accesses,
 * stores, modes, roots, flushes and interruptions, under a simulated CPU (shadow_machine.h). Every verdict is held
 * against the guest's own tables (shadow_life.h), and the checker looks at the shadow's. SEED=n repeats a run, TIMES=n makes
 * it n times as long.
 */
#include <check.h>
#include <stdlib.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_life.h"
#include "tests/unit/shadow_machine.h"
#include "tests/unit/shadow_zone.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"

#define POOL 512u
#define TRIES 16u

static uint64_t warm_gva(struct life *l)
{
	return zone_one_in(&l->r, 2) ? l->hot[random_below(&l->r, LIFE_HOT)] : zone_gva(&l->r);
}

/* What a write writes: mostly something that makes sense in a table. */
static void written(struct life *l, unsigned int access, enum machine_verdict v, uint64_t gpa, struct expected *e)
{
	uint64_t value = zone_gpte(&l->r, e->walk.gpa);

	if (v == MACHINE_DONE || v == MACHINE_STORE)
		l->hot[random_below(&l->r, LIFE_HOT)] = e->gva;
	if (!(access & MMU_WRITE))
		return;
	if (v == MACHINE_DONE) {
		expect(!tables_is_table(l->m.tables, gpa));
		life_store(l, gpa, &value, sizeof(value));
	} else if (v == MACHINE_STORE) {
		expect(walk_mark(&l->m.ram, &e->walk, access));
		life_store(l, e->walk.gpa, &value, sizeof(value));
	}
}

static void access_step(struct life *l)
{
	static const unsigned int kinds[] = {MMU_READ, MMU_READ, MMU_WRITE, MMU_WRITE, MMU_EXEC};
	uint64_t gva = warm_gva(l), gpa = 0;
	unsigned int access = kinds[random_below(&l->r, 5)];
	enum machine_verdict v;
	struct expected e;
	struct walk w;

	if (zone_one_in(&l->r, 4))
		l->m.view = l->m.view == VIEW_USER ? VIEW_KERNEL : VIEW_USER;
	access |= l->m.view == VIEW_USER ? MMU_USER : 0;
	life_expect(&l->m, gva, access, &e);
	v = machine_access(&l->m, gva, access, TRIES, &gpa, &w);
	life_compare(l, &e, access, v, gpa, &w);
	written(l, access, v, gpa, &e);
}

/* An entry on the way to a gva that matters. */
static uint64_t hot_entry(struct life *l)
{
	struct walk w;
	int level;

	walk_guest(&l->m.ram, &l->m.cs, l->hot[random_below(&l->r, LIFE_HOT)], MMU_READ, &w);
	level = w.level + (int)random_below(&l->r, 5 - (unsigned int)w.level);
	return mem_at(&l->m.ram, w.gpte_gpa[level], 8, MEM_READ) ? w.gpte_gpa[level] : zone_entry(&l->r);
}

static void store_step(struct life *l)
{
	static const unsigned int sizes[] = {8, 8, 8, 8, 8, 8, 4, 1, 2, 16, 8};
	uint64_t gpa = zone_one_in(&l->r, 2) ? hot_entry(l) : zone_entry(&l->r);
	uint64_t value[3] = {zone_gpte(&l->r, gpa), zone_gpte(&l->r, gpa)};
	unsigned int size = sizes[random_below(&l->r, sizeof(sizes) / sizeof(sizes[0]))];

	if (zone_one_in(&l->r, 2))
		value[0] = zone_flip(&l->r, *machine_word(&l->m, gpa));
	if (zone_one_in(&l->r, 10) && gpa < ZONE_RAM - 64)
		gpa += random_below(&l->r, 16);
	size = gpa < ZONE_RAM - 64 ? size : 8;
	life_store(l, gpa, value, size);
}

static void forget_step(struct life *l)
{
	uint64_t gpa = zone_entry(&l->r);

	if (zone_one_in(&l->r, 4)) {
		tables_forget(l->m.tables, 0, ZONE_RAM);
		expect(!tables_is_table(l->m.tables, gpa));
		zone_fill(&l->m, &l->r);
	} else {
		tables_forget(l->m.tables, gpa, 8);
		expect(!tables_is_table(l->m.tables, gpa));
		*machine_word(&l->m, gpa) = zone_gpte(&l->r, gpa);
	}
}

static void mode_step(struct life *l)
{
	switch (random_below(&l->r, 3)) {
	case 0:
		l->m.cs.cr0 ^= CR0_WP;
		break;
	case 1:
		l->m.cs.cr4 ^= CR4_SMEP;
		break;
	default:
		l->m.cs.efer ^= EFER_NXE;
		break;
	}
}

static void cr3_step(struct life *l)
{
	l->m.cs.cr3 = zone_one_in(&l->r, 20) ? zone_target(&l->r) : zone_table(&l->r, 4);
	if (zone_one_in(&l->r, 10))
		l->m.cs.cr3 |= 0x18;
	life_flush(l);
}

static void invlpg_step(struct life *l)
{
	life_invlpg(l, warm_gva(l));
}

static void kick_step(struct life *l)
{
	machine_enter_and_kick(&l->m, random_below(&l->r, 4));
}

static void run_on_step(struct life *l)
{
	machine_enter(&l->m);
	if (zone_one_in(&l->r, 3))
		store_step(l);
	tables_edits_done(l->m.tables);
	if (zone_one_in(&l->r, 3))
		tables_edits_done(l->m.tables);
}

/* What an instruction writes to a page it was lent, or a part of it before it faults: anywhere, many entries or none. */
static void write_unseen(struct life *l, uint64_t page)
{
	static const unsigned int counts[] = {0, 1, 1, 2, 4, 16, 64, 512};

	for (unsigned int n = counts[random_below(&l->r, 8)]; n; n--) {
		bool used = !zone_one_in(&l->r, 4);
		uint64_t at = used ? zone_indexes[random_below(&l->r, ZONE_INDEXES)] : random_below(&l->r, 512);

		*machine_word(&l->m, page + at * 8) = zone_gpte(&l->r, page);
	}
}

/* The CPU writes to what is lent; of what is not, it writes to no table in sync. */
static void write_lent(struct life *l, uint64_t gva)
{
	unsigned int access = MMU_WRITE | (l->m.view == VIEW_USER ? MMU_USER : 0);
	const struct tables *t = l->m.tables;
	uint64_t gpa;

	if (!machine_touch(&l->m, gva, access, &gpa))
		return;
	expect(!tables_is_table(t, gpa));
	for (unsigned int i = 0; i < t->loans; i++) {
		if (t->loan[i].gfn == gpa >> 12) {
			write_unseen(l, gpa & ~(PAGE_SIZE - 1));
			return;
		}
	}
}

/* A store to the table at gva, which must be one, is possible once that is lent; if it is lent alone, always. */
static void expect_lent(struct life *l, uint64_t gva, const struct expected *e)
{
	unsigned int access = MMU_WRITE | (l->m.view == VIEW_USER ? MMU_USER : 0);
	uint64_t gpa = 0;

	expect_eq(l->m.tables->loans, 1);
	expect(machine_touch(&l->m, gva, access, &gpa));
	expect_eq(gpa, e->walk.gpa);
}

/* One instruction that stores to some gvas, most of them tables, and what may happen to it. */
static void lend_step(struct life *l)
{
	unsigned int access = MMU_WRITE | (l->m.view == VIEW_USER ? MMU_USER : 0);
	size_t count = zone_one_in(&l->r, 2) ? 1 : 1 + random_below(&l->r, TABLES_MAX_LOANS);
	bool kicked = zone_one_in(&l->r, 8);
	uint64_t gva[TABLES_MAX_LOANS], recycled = tables_stats(l->m.tables).recycled;
	enum tables_verdict v;
	struct expected e;
	struct walk w;

	for (size_t i = 0; i < count; i++)
		gva[i] = warm_gva(l);
	machine_enter(&l->m);
	tables_edits_done(l->m.tables);
	v = machine_fault(&l->m, gva[0], access, &w);
	life_expect(&l->m, gva[0], access, &e);
	machine_lend(&l->m, gva, count, kicked ? random_below(&l->r, 4) : SIZE_MAX);
	machine_check(&l->m);
	if (kicked) {
		tables_take_back(l->m.tables);
		return;
	}
	if (count == 1 && v == TABLES_STORE && tables_stats(l->m.tables).recycled == recycled)
		expect_lent(l, gva[0], &e);
	for (size_t i = 0; i < count; i++)
		write_lent(l, gva[i]);
	machine_check(&l->m);
	if (zone_one_in(&l->r, 20))
		tables_forget(l->m.tables, zone_entry(&l->r), 8);
	if (zone_one_in(&l->r, 200))
		tables_drop_all(l->m.tables);
	tables_edits_done(l->m.tables);
	tables_take_back(l->m.tables);
	expect(!tables_lent(l->m.tables));
	if (count == 1 && v == TABLES_STORE)
		l->hot[random_below(&l->r, LIFE_HOT)] = gva[0];
}

/* A fault that comes before edits have been carried out. */
static void fault_step(struct life *l)
{
	unsigned int access = (zone_one_in(&l->r, 2) ? MMU_WRITE : MMU_READ) | (l->m.view == VIEW_USER ? MMU_USER : 0);
	uint64_t gva = warm_gva(l);
	enum tables_verdict v;
	struct expected e;
	struct walk w;

	if (zone_one_in(&l->r, 2))
		store_step(l);
	if (zone_one_in(&l->r, 4))
		kick_step(l);
	life_expect(&l->m, gva, access, &e);
	v = machine_fault(&l->m, gva, access, &w);
	expect_eq(v == TABLES_GUEST_FAULT, e.walk.fault || e.monitor);
	expect_eq(v == TABLES_DEVICE, !e.walk.fault && !e.monitor && !e.ram);
	if (v == TABLES_STORE)
		expect(tables_is_table(l->m.tables, w.gpa));
}

static void drop_step(struct life *l)
{
	tables_drop_all(l->m.tables);
}

/* Which pages it used; now and then nobody wants to know any more. */
static void used_step(struct life *l)
{
	if (zone_one_in(&l->r, 10))
		tables_ignore_accessed(l->m.tables);
	else
		machine_check_used(&l->m);
}

static const struct step {
	unsigned int weight;
	void (*run)(struct life *l);
} steps[] = {
	{600, access_step}, {200, store_step}, {10, forget_step}, {5, mode_step}, {30, cr3_step}, {40, invlpg_step},
	{30, kick_step}, {60, run_on_step}, {60, fault_step}, {60, lend_step}, {1, drop_step},
	{10, used_step},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void random_step(struct life *l)
{
	unsigned int sum = 0, at;

	for (unsigned int i = 0; i < STEPS; i++)
		sum += steps[i].weight;
	at = (unsigned int)random_below(&l->r, sum);
	for (unsigned int i = 0; i < STEPS; i++) {
		if (at < steps[i].weight) {
			steps[i].run(l);
			return;
		}
		at -= steps[i].weight;
	}
}

static void random_life(struct random *r, uint32_t pool, unsigned int count, unsigned int check_every)
{
	struct life l = {.r = {.state = random_next(r)}};

	machine_create(&l.m, ZONE_RAM, pool);
	zone_fill(&l.m, &l.r);
	l.m.cs.cr3 = zone_table(&l.r, 4);
	for (unsigned int i = 1; i <= count; i++) {
		random_step(&l);
		if (i % check_every == 0)
			machine_check(&l.m);
	}
	machine_destroy(&l.m);
}

static unsigned int times(unsigned int n)
{
	const char *factor = getenv("TIMES");

	return factor ? n * (unsigned int)atoi(factor) : n;
}

START_TEST(random_lives_checked_at_every_step)
{
	struct random r = random_start("random_lives_checked_at_every_step");

	for (unsigned int i = 0; i < times(30); i++)
		random_life(&r, POOL, 200, 1);
}
END_TEST

START_TEST(random_lives_in_a_tiny_pool)
{
	struct random r = random_start("random_lives_in_a_tiny_pool");

	for (unsigned int i = 0; i < times(20); i++)
		random_life(&r, TABLES_MIN_PAGES, 300, 3);
}
END_TEST

START_TEST(long_random_lives)
{
	struct random r = random_start("long_random_lives");

	for (unsigned int i = 0; i < times(5); i++)
		random_life(&r, POOL, 10000, 500);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("shadow_lives");

	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, random_lives_checked_at_every_step);
	tcase_add_test(tc, random_lives_in_a_tiny_pool);
	tcase_add_test(tc, long_random_lives);
	return run_case("shadow_lives", tc);
}
