#include "vmm/walk.h"

#include <stdbool.h>

#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"

#define INDEX_BITS 9
#define LARGE_PAGE_OFFSET 0x1fffffull
#define LARGE_PAGE_RESERVED (PTE_ADDR & LARGE_PAGE_OFFSET & ~(1ull << 12)) /* bit 12 is PAT */
#define ADDRESS_RESERVED (0x000fffffffffffffull & ~PTE_ADDR & ~0xfffull)

/* What all levels so far allow together. */
struct rights {
	bool write, user, exec;
};

static unsigned int shift_of(int level)
{
	return PAGE_SHIFT + INDEX_BITS * (unsigned int)(level - 1);
}

static bool canonical(uint64_t gva)
{
	return gva + (1ull << 47) < 1ull << 48;
}

static bool is_leaf(int level, uint64_t gpte)
{
	return level == 1 || (level == 2 && (gpte & PTE_PS));
}

static bool reserved_set(const struct cpu_state *cs, int level, uint64_t gpte)
{
	if (gpte & ADDRESS_RESERVED)
		return true;
	if ((gpte & PTE_NX) && !(cs->efer & EFER_NXE))
		return true;
	if (level >= 3)
		return gpte & PTE_PS;
	return level == 2 && (gpte & PTE_PS) && (gpte & LARGE_PAGE_RESERVED);
}

static void fault(const struct cpu_state *cs, unsigned int access, uint32_t why, struct walk *w)
{
	w->fault = 1;
	w->error = why;
	if (access & MMU_WRITE)
		w->error |= PF_WRITE;
	if (access & MMU_USER)
		w->error |= PF_USER;
	if ((access & MMU_EXEC) && ((cs->efer & EFER_NXE) || (cs->cr4 & CR4_SMEP)))
		w->error |= PF_FETCH;
}

static bool allowed(const struct cpu_state *cs, const struct rights *r, unsigned int access)
{
	if ((access & MMU_USER) && !r->user)
		return false;
	if ((access & MMU_WRITE) && !r->write && ((access & MMU_USER) || (cs->cr0 & CR0_WP)))
		return false;
	if (access & MMU_EXEC)
		return r->exec && !((cs->cr4 & CR4_SMEP) && r->user && !(access & MMU_USER));
	return true;
}

void walk_guest(struct mem *m, const struct cpu_state *cs, uint64_t gva, unsigned int access, struct walk *w)
{
	struct rights rights = {true, true, true};
	uint64_t table = cs->cr3 & PTE_ADDR, offset, gpte = 0;

	*w = (struct walk){.gpa = gva};
	if (!(cs->cr0 & CR0_PG))
		return;
	if (!(cs->efer & EFER_LMA) || !canonical(gva))
		return fault(cs, access, 0, w);
	for (w->level = WALK_LEVELS; w->level; w->level--) {
		w->gpte_gpa[w->level] = table + (gva >> shift_of(w->level) & 511) * sizeof(gpte);
		if (mem_read(m, w->gpte_gpa[w->level], &gpte, sizeof(gpte)) < 0 || !(gpte & PTE_P))
			return fault(cs, access, 0, w);
		w->gpte[w->level] = gpte;
		if (reserved_set(cs, w->level, gpte))
			return fault(cs, access, PF_PRESENT | PF_RESERVED, w);
		rights.write &= (gpte & PTE_W) != 0;
		rights.user &= (gpte & PTE_U) != 0;
		rights.exec &= !(gpte & PTE_NX);
		if (is_leaf(w->level, gpte))
			break;
		table = gpte & PTE_ADDR;
	}
	if (!allowed(cs, &rights, access))
		return fault(cs, access, PF_PRESENT, w);
	offset = (1ull << shift_of(w->level)) - 1;
	w->gpa = (gpte & PTE_ADDR & ~offset) | (gva & offset);
}

/* *gpte is what the walk read, and then what the entry holds. Returns false if the entry says something else by now. */
static bool mark(struct mem *m, uint64_t gpa, uint64_t *gpte, uint64_t bits)
{
	uint64_t *entry = mem_at(m, gpa, sizeof(*entry), MEM_READ);
	uint64_t now;

	ensure(entry);
	now = __atomic_load_n(entry, __ATOMIC_RELAXED);
	do {
		/* A table that maps itself is met at several levels: its entry was marked a moment ago. */
		if ((now ^ *gpte) & ~(PTE_A | PTE_D))
			return false;
		*gpte = now | bits;
		if (*gpte == now)
			return true;
		mem_dirtied(m, gpa, sizeof(*entry));
	} while (!__atomic_compare_exchange_n(entry, &now, *gpte, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return true;
}

bool walk_mark(struct mem *m, struct walk *w, unsigned int access)
{
	ensure(!w->fault);
	for (int level = WALK_LEVELS; w->level && level >= w->level; level--) {
		uint64_t bits = PTE_A;

		if (level == w->level && (access & MMU_WRITE))
			bits |= PTE_D;
		if (!mark(m, w->gpte_gpa[level], &w->gpte[level], bits))
			return false;
	}
	return true;
}
