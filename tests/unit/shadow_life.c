#include "tests/unit/shadow_life.h"

#include <string.h>

#include "tests/unit/expect.h"
#include "vmm/mmu.h"

static void mark_expected(struct expected *e, unsigned int access)
{
	const struct walk *w = &e->walk;

	for (int level = 4; level >= w->level; level--) {
		uint64_t at = (w->gpte_gpa[level] - ZONE) / 8;

		if (at < sizeof(e->zone) / 8)
			e->zone[at] |= PTE_A | (level == w->level && (access & MMU_WRITE) ? PTE_D : 0);
	}
}

void life_expect(struct machine *m, uint64_t gva, unsigned int access, struct expected *e)
{
	e->gva = gva;
	walk_guest(&m->ram, &m->cs, gva, access, &e->walk);
	e->ram = !e->walk.fault && mem_at(&m->ram, e->walk.gpa, 1, MEM_READ);
	e->monitor = (gva >> 39 & 511) == 256;
	memcpy(e->zone, machine_word(m, ZONE), sizeof(e->zone));
}

static bool life_is_unsync(struct life *l, uint64_t gpa)
{
	const struct tables *t = l->m.tables;

	return !t->must_recycle && shadow_page_is_table(t, gpa >> PAGE_SHIFT) && !tables_is_table(t, gpa);
}

void life_flush(struct life *l)
{
	l->olds = l->flushes = 0;
	tables_load_cr3(l->m.tables, &l->m.cs);
	for (unsigned int i = 0; i < ZONE_PAGES; i++)
		expect(!life_is_unsync(l, ZONE + i * PAGE_SIZE));
}

void life_invlpg(struct life *l, uint64_t gva)
{
	if (l->flushes == LIFE_FLUSHED)
		life_flush(l);
	l->flushed[l->flushes++] = (struct flushed){gva >> 12, l->olds};
	tables_invlpg(l->m.tables, &l->m.cs, gva);
}

void life_store(struct life *l, uint64_t gpa, const void *bytes, uint64_t size)
{
	if (l->olds + 4 > LIFE_OLD)
		life_flush(l);
	for (uint64_t at = gpa & ~7ull; at < gpa + size; at += 8) {
		if (life_is_unsync(l, at))
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

void life_compare(struct life *l, struct expected *e, unsigned int access, enum machine_verdict v, uint64_t gpa,
		    const struct walk *w)
{
	if (is_excusable(l, e, access, v, gpa))
		return;
	expect_msg(is_right(l, e, access, v, gpa, w), "gva 0x%" PRIx64 " access %u: verdict %d, gpa 0x%" PRIx64
		   ", and not fault %d error %u gpa 0x%" PRIx64, e->gva, access, v, gpa, e->walk.fault, e->walk.error,
		   e->walk.gpa);
	expect_msg(is_marked_right(l, e, access, v), "gva 0x%" PRIx64 " access %u: A and D are wrong", e->gva, access);
}
