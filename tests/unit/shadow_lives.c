/*
 * The shadow tables in random lives: random guest tables with all that guests can do wrong in them, random accesses,
 * stores, modes, roots, flushes and interruptions, under a simulated CPU (shadow_machine.h). Every verdict is held
 * against the guest's own tables, and the checker looks at the shadow's. SEED=n repeats a run, TIMES=n makes it n
 * times as long.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/shadow_page.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/unit/shadow_machine.h"
#include "vmm/mmu.h"

#define RAM (8ull << 20)
#define POOL 512u
#define TABLE_BITS (PTE_P | PTE_W | PTE_U | PTE_A)
#define PAGE_BITS (TABLE_BITS | PTE_D)

/*
 * The zone: pages that are tables to some and data to others; most of the first are PML4s, and so on down. There are
 * entries only at a few indexes, so that random gvas get far. It crosses a 2 MiB border.
 */
#define ZONE 0x1fa000ull
#define ZONE_PAGES 14u
#define TRIES 16u

static const unsigned int first_of_level[] = {14, 8, 5, 2, 0}; /* zone page with which a level begins; [0] is the end */
static const unsigned int indexes[] = {0, 1, 31, 32, 256, 511};

#define INDEXES (sizeof(indexes) / sizeof(indexes[0]))

static bool one_in(struct random *r, unsigned int n)
{
	return random_below(r, n) == 0;
}

#define HOT 8u
#define OLD 48u
#define FLUSHED 32u

/*
 * A guest and its chances. It may find what it changed in a table out of sync as it was before, until it flushes: CR3
 * is loaded when `old` is full.
 */
struct life {
	struct machine m;
	struct random r;
	uint64_t hot[HOT]; /* gvas that were good not long ago */
	struct old {
		uint64_t gpte_gpa, value;
	} old[OLD]; /* entries of tables out of sync before they were stored to */
	unsigned int olds;
	struct flushed {
		uint64_t gva_page;
		unsigned int olds; /* all before no longer count for it */
	} flushed[FLUSHED];
	unsigned int flushes;
};

static uint64_t random_zone_page(struct random *r)
{
	return ZONE + random_below(r, ZONE_PAGES) * PAGE_SIZE;
}

static uint64_t random_table(struct random *r, int level)
{
	unsigned int first = first_of_level[level], count = first_of_level[level - 1] - first;

	return ZONE + (first + random_below(r, count)) * PAGE_SIZE;
}

static uint64_t random_target(struct random *r)
{
	switch (random_below(r, 8)) {
	case 0:
		return RAM - PAGE_SIZE + random_below(r, 4) * PAGE_SIZE;
	case 1:
		return MACHINE_POOL_GPA + random_below(r, 64) * PAGE_SIZE;
	case 2:
		return 0xd0000000;
	case 3:
	case 4:
		return random_below(r, 5) << 21;
	case 5:
		return random_zone_page(r);
	default:
		return random_below(r, RAM / PAGE_SIZE) * PAGE_SIZE;
	}
}

/* Level of the table in which gpa lies, if it is one of its kind. */
static int level_at(uint64_t gpa)
{
	for (int level = 4; level > 1; level--) {
		if (gpa < ZONE + first_of_level[level - 1] * PAGE_SIZE)
			return level;
	}
	return 1;
}

/* P, W, U, A, D, NX, PS, reserved bits, and now and then anything. */
static uint64_t flip(struct random *r, uint64_t gpte)
{
	static const unsigned int bits[] = {0, 1, 2, 5, 6, 63, 1, 2, 5, 6, 63, 7, 14, 41};

	const unsigned int count = sizeof(bits) / sizeof(bits[0]);

	return gpte ^ 1ull << (one_in(r, 8) ? random_below(r, 64) : bits[random_below(r, count)]);
}

/* An entry for gpa: one that makes sense there as a rule. */
static uint64_t random_gpte(struct random *r, uint64_t gpa)
{
	int level = level_at(gpa);
	uint64_t gpte = TABLE_BITS | PTE_D;

	if (one_in(r, 12))
		gpte |= gpa & ~(PAGE_SIZE - 1);
	else
		gpte |= level == 1 || one_in(r, 6) ? random_target(r) : random_table(r, level - 1);
	if (level == 2 && one_in(r, 4))
		gpte = random_below(r, 5) << 21 | PTE_PS | PAGE_BITS;
	if (one_in(r, 4))
		gpte = flip(r, gpte);
	if (one_in(r, 8))
		gpte = flip(r, gpte);
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
		gva |= (uint64_t)indexes[random_below(r, level == 4 ? 3 : INDEXES)] << (3 + 9 * level);
	if (one_in(r, 10))
		gva |= 0x1ffull << 39;
	if (one_in(r, 100))
		gva = (gva & ((1ull << 39) - 1)) | 0x100ull << 39;
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
			*machine_word(m, page + indexes[i] * sizeof(uint64_t)) = random_gpte(r, page);
	}
}

/* What the guest's CPU would do with an access, and leave in its tables. */
struct expected {
	uint64_t gva;
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
	e->gva = gva;
	walk_guest(&m->ram, &m->cs, gva, access, &e->walk);
	e->ram = !e->walk.fault && mem_at(&m->ram, e->walk.gpa, 1, MEM_READ);
	e->monitor = (gva >> 39 & 511) == 256;
	memcpy(e->zone, machine_word(m, ZONE), sizeof(e->zone));
}

static bool is_unsync(struct life *l, uint64_t gpa)
{
	const struct tables *t = l->m.tables;

	return !t->must_recycle && shadow_page_is_table(t, gpa >> PAGE_SHIFT) && !tables_is_table(t, gpa);
}

static void flush(struct life *l)
{
	l->olds = l->flushes = 0;
	tables_load_cr3(l->m.tables, &l->m.cs);
	for (unsigned int i = 0; i < ZONE_PAGES; i++)
		expect(!is_unsync(l, ZONE + i * PAGE_SIZE));
}

static void invlpg(struct life *l, uint64_t gva)
{
	if (l->flushes == FLUSHED)
		flush(l);
	l->flushed[l->flushes++] = (struct flushed){gva >> 12, l->olds};
	tables_invlpg(l->m.tables, &l->m.cs, gva);
}

/* A store by whichever way it takes. */
static void store(struct life *l, uint64_t gpa, const void *bytes, uint64_t size)
{
	if (l->olds + 4 > OLD)
		flush(l);
	for (uint64_t at = gpa & ~7ull; at < gpa + size; at += 8) {
		if (is_unsync(l, at))
			l->old[l->olds++] = (struct old){at, *machine_word(&l->m, at)};
	}
	machine_store(&l->m, gpa, bytes, size);
}

/* The verdict that today's tables ask for. */
static bool is_right(struct life *l, const struct expected *e, unsigned int access, enum machine_verdict v,
		     uint64_t gpa, const struct walk *w)
{
	uint32_t error = e->walk.fault ? e->walk.error : (access & MMU_WRITE ? 2 : 0) | (access & MMU_USER ? 4 : 0);

	if (e->walk.fault || e->monitor)
		return v == MACHINE_GUEST_FAULT && (w->error & ~(e->walk.fault ? 0 : PF_FETCH)) == error;
	if (!e->ram)
		return v == MACHINE_DEVICE && w->gpa == e->walk.gpa;
	if (v == MACHINE_STORE)
		return (access & MMU_WRITE) && w->gpa == e->walk.gpa && tables_is_table(l->m.tables, w->gpa);
	return v == MACHINE_DONE && gpa == e->walk.gpa;
}

/* A and D as the access leaves them; where it is to be emulated they may have been set already. */
static bool is_marked_right(struct life *l, struct expected *e, unsigned int access, enum machine_verdict v)
{
	const uint64_t *zone = machine_word(&l->m, ZONE);

	if (v == MACHINE_STORE && memcmp(e->zone, zone, sizeof(e->zone)) == 0)
		return true;
	if (v == MACHINE_STORE || v == MACHINE_DONE)
		mark_expected(e, access);
	return memcmp(e->zone, zone, sizeof(e->zone)) == 0;
}

/* The gpte of the walk as it was, and as a TLB may still have it. */
static bool was_right(struct life *l, const struct expected *e, unsigned int access, uint64_t gpa,
		      const struct old *old)
{
	uint64_t *gpte = machine_word(&l->m, old->gpte_gpa), now = *gpte;
	struct walk w;

	*gpte = old->value;
	walk_guest(&l->m.ram, &l->m.cs, e->gva, access, &w);
	*gpte = now;
	return !w.fault && w.gpa == gpa && (old->value & PTE_A) && ((old->value & PTE_D) || !(access & MMU_WRITE));
}

/* The verdict may come from an entry that the guest has stored to since it flushed: then nothing is marked. */
static bool is_excusable(struct life *l, const struct expected *e, unsigned int access, enum machine_verdict v,
			 uint64_t gpa)
{
	unsigned int first = 0;

	if (v != MACHINE_DONE || e->monitor || memcmp(e->zone, machine_word(&l->m, ZONE), sizeof(e->zone)) != 0)
		return false;
	for (unsigned int i = 0; i < l->flushes; i++) {
		if (l->flushed[i].gva_page == e->gva >> 12)
			first = l->flushed[i].olds;
	}
	for (unsigned int i = first; i < l->olds; i++) {
		if (l->old[i].gpte_gpa == e->walk.gpte_gpa[1] && was_right(l, e, access, gpa, &l->old[i]))
			return true;
	}
	return false;
}

static void compare(struct life *l, struct expected *e, unsigned int access, enum machine_verdict v, uint64_t gpa,
		    const struct walk *w)
{
	if (is_excusable(l, e, access, v, gpa))
		return;
	expect_msg(is_right(l, e, access, v, gpa, w), "gva 0x%" PRIx64 " access %u: verdict %d, gpa 0x%" PRIx64
		   ", and not fault %d error %u gpa 0x%" PRIx64, e->gva, access, v, gpa, e->walk.fault, e->walk.error,
		   e->walk.gpa);
	expect_msg(is_marked_right(l, e, access, v), "gva 0x%" PRIx64 " access %u: A and D are wrong", e->gva, access);
}

static uint64_t warm_gva(struct life *l)
{
	return one_in(&l->r, 2) ? l->hot[random_below(&l->r, HOT)] : random_gva(&l->r);
}

/* What a write writes: mostly something that makes sense in a table. */
static void written(struct life *l, unsigned int access, enum machine_verdict v, uint64_t gpa, struct expected *e)
{
	uint64_t value = random_gpte(&l->r, e->walk.gpa);

	if (v == MACHINE_DONE || v == MACHINE_STORE)
		l->hot[random_below(&l->r, HOT)] = e->gva;
	if (!(access & MMU_WRITE))
		return;
	if (v == MACHINE_DONE) {
		expect(!tables_is_table(l->m.tables, gpa));
		store(l, gpa, &value, sizeof(value));
	} else if (v == MACHINE_STORE) {
		expect(walk_mark(&l->m.ram, &e->walk, access));
		store(l, e->walk.gpa, &value, sizeof(value));
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

	if (one_in(&l->r, 4))
		l->m.view = l->m.view == VIEW_USER ? VIEW_KERNEL : VIEW_USER;
	access |= l->m.view == VIEW_USER ? MMU_USER : 0;
	expect_access(&l->m, gva, access, &e);
	v = machine_access(&l->m, gva, access, TRIES, &gpa, &w);
	compare(l, &e, access, v, gpa, &w);
	written(l, access, v, gpa, &e);
}

/* An entry on the way to a gva that matters. */
static uint64_t hot_entry(struct life *l)
{
	struct walk w;
	int level;

	walk_guest(&l->m.ram, &l->m.cs, l->hot[random_below(&l->r, HOT)], MMU_READ, &w);
	level = w.level + (int)random_below(&l->r, 5 - (unsigned int)w.level);
	return mem_at(&l->m.ram, w.gpte_gpa[level], 8, MEM_READ) ? w.gpte_gpa[level] : random_entry(&l->r);
}

static void store_step(struct life *l)
{
	static const unsigned int sizes[] = {8, 8, 8, 8, 8, 8, 4, 1, 2, 16, 8};
	uint64_t gpa = one_in(&l->r, 2) ? hot_entry(l) : random_entry(&l->r);
	uint64_t value[3] = {random_gpte(&l->r, gpa), random_gpte(&l->r, gpa)};
	unsigned int size = sizes[random_below(&l->r, sizeof(sizes) / sizeof(sizes[0]))];

	if (one_in(&l->r, 2))
		value[0] = flip(&l->r, *machine_word(&l->m, gpa));
	if (one_in(&l->r, 10) && gpa < RAM - 64)
		gpa += random_below(&l->r, 16);
	size = gpa < RAM - 64 ? size : 8;
	store(l, gpa, value, size);
}

static void forget_step(struct life *l)
{
	uint64_t gpa = random_entry(&l->r);

	if (one_in(&l->r, 4)) {
		tables_forget(l->m.tables, 0, RAM);
		expect(!tables_is_table(l->m.tables, gpa));
		fill_zone(&l->m, &l->r);
	} else {
		tables_forget(l->m.tables, gpa, 8);
		expect(!tables_is_table(l->m.tables, gpa));
		*machine_word(&l->m, gpa) = random_gpte(&l->r, gpa);
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
	l->m.cs.cr3 = one_in(&l->r, 20) ? random_target(&l->r) : random_table(&l->r, 4);
	if (one_in(&l->r, 10))
		l->m.cs.cr3 |= 0x18;
	flush(l);
}

static void invlpg_step(struct life *l)
{
	invlpg(l, warm_gva(l));
}

static void kick_step(struct life *l)
{
	machine_enter_and_kick(&l->m, random_below(&l->r, 4));
}

static void run_on_step(struct life *l)
{
	machine_enter(&l->m);
	if (one_in(&l->r, 3))
		store_step(l);
	tables_edits_done(l->m.tables);
	if (one_in(&l->r, 3))
		tables_edits_done(l->m.tables);
}

/* A fault that comes before edits have been carried out. */
static void fault_step(struct life *l)
{
	unsigned int access = (one_in(&l->r, 2) ? MMU_WRITE : MMU_READ) | (l->m.view == VIEW_USER ? MMU_USER : 0);
	uint64_t gva = warm_gva(l);
	enum tables_verdict v;
	struct expected e;
	struct walk w;

	if (one_in(&l->r, 2))
		store_step(l);
	if (one_in(&l->r, 4))
		kick_step(l);
	expect_access(&l->m, gva, access, &e);
	v = tables_fault(l->m.tables, &l->m.cs, l->m.view, gva, access, &w);
	expect_eq(v == TABLES_GUEST_FAULT, e.walk.fault || e.monitor);
	expect_eq(v == TABLES_DEVICE, !e.walk.fault && !e.monitor && !e.ram);
	if (v == TABLES_STORE)
		expect(tables_is_table(l->m.tables, w.gpa));
}

static void drop_step(struct life *l)
{
	tables_drop_all(l->m.tables);
}

static const struct step {
	unsigned int weight;
	void (*run)(struct life *l);
} steps[] = {
	{600, access_step}, {200, store_step}, {10, forget_step}, {5, mode_step}, {30, cr3_step}, {40, invlpg_step},
	{30, kick_step}, {60, run_on_step}, {60, fault_step}, {1, drop_step},
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

	machine_create(&l.m, RAM, pool);
	fill_zone(&l.m, &l.r);
	l.m.cs.cr3 = random_table(&l.r, 4);
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
	Suite *s = suite_create("shadow_lives");
	TCase *tc = tcase_create("shadow_lives");
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
