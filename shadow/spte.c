#include "shadow/spte.h"

#include "vmm/cpu_state.h"

#define LARGE_PAGE_RESERVED (PTE_ADDR & (LARGE_PAGE - 1) & ~(1ull << 12)) /* bit 12 is PAT */
#define ADDRESS_RESERVED (0x000fffffffffffffull & ~PTE_ADDR & ~0xfffull)
#define DIRECT_RIGHTS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

struct page_key page_key_root(const struct cpu_state *cs, enum view view)
{
	struct page_key k = {.gfn = gfn_of(cs->cr3), .level = WALK_LEVELS, .view = view};

	if (!(cs->efer & EFER_NXE))
		k.role |= ROLE_NXE_OFF;
	if (view == VIEW_KERNEL && !(cs->cr0 & CR0_WP))
		k.role |= ROLE_WP_OFF;
	if (view == VIEW_KERNEL && (cs->cr4 & CR4_SMEP))
		k.role |= ROLE_SMEP | ROLE_USER_PATH;
	return k;
}

struct page_key page_key_child(const struct page_key *k, uint64_t gpte)
{
	struct page_key child = {.gfn = gfn_of(gpte), .level = k->level - 1, .view = k->view, .role = k->role};

	if (gpte_is_leaf(k->level, gpte))
		return (struct page_key){.gfn = gpte_target(k->level, gpte) >> 12, .level = 1, .role = ROLE_DIRECT};
	if (!(gpte & PTE_U))
		child.role &= ~ROLE_USER_PATH;
	return child;
}

bool gpte_is_leaf(int level, uint64_t gpte)
{
	return level == 1 || (level == 2 && (gpte & PTE_PS));
}

uint64_t gpte_target(int level, uint64_t gpte)
{
	return gpte & PTE_ADDR & ~(level == 2 ? LARGE_PAGE - 1 : 0);
}

static bool reserved_set(const struct page_key *k, uint64_t gpte)
{
	if (gpte & ADDRESS_RESERVED)
		return true;
	if ((gpte & PTE_NX) && (k->role & ROLE_NXE_OFF))
		return true;
	if (k->level >= 3)
		return gpte & PTE_PS;
	return k->level == 2 && (gpte & PTE_PS) && (gpte & LARGE_PAGE_RESERVED);
}

uint64_t spte_rights(const struct page_key *k, uint64_t gpte)
{
	uint64_t rights = PTE_P | PTE_U | PTE_A | (gpte & PTE_NX);
	bool leaf = gpte_is_leaf(k->level, gpte);

	if (k->role & ROLE_DIRECT)
		return DIRECT_RIGHTS;
	if (!(gpte & PTE_P) || !(gpte & PTE_A) || reserved_set(k, gpte))
		return 0;
	if (k->view == VIEW_USER && !(gpte & PTE_U))
		return 0;
	if ((gpte & PTE_W) || (k->role & ROLE_WP_OFF))
		rights |= PTE_W;
	if (!leaf)
		return rights;
	if (!(gpte & PTE_D))
		rights &= ~PTE_W;
	if ((k->role & ROLE_USER_PATH) && (gpte & PTE_U))
		rights |= PTE_NX;
	return rights | PTE_D;
}
