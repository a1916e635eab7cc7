/*
 * What a shadow entry may say: a pure function of the guest's entry and of what the shadow page it lies in stands
 * for. Entry layout: AMD APM vol. 2, 5.3-5.4.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/tables.h"

struct cpu_state;

#define TABLE_ENTRIES 512u
#define LARGE_PAGE (2ull << 20)
#define LARGE_FRAMES 512u

/* What the meaning of a guest table depends on beside its level and view. */
enum role {
	ROLE_WP_OFF = 1,    /* kernel view: CR0.WP = 0 */
	ROLE_NXE_OFF = 2,   /* EFER.NXE = 0: NX is a reserved bit */
	ROLE_SMEP = 4,	    /* kernel view: CR4.SMEP = 1 */
	ROLE_USER_PATH = 8, /* with ROLE_SMEP: every level above allows user access */
	ROLE_DIRECT = 16,   /* no guest table: the 512 frames of a 2 MiB page, every one allowed; see spte_rights() */
};

/* What a shadow page stands for. */
struct page_key {
	uint64_t gfn; /* of the guest table; of the first frame with ROLE_DIRECT */
	uint8_t level;
	uint8_t view; /* enum view */
	uint8_t role;
};

static inline uint64_t gfn_of(uint64_t gpte)
{
	return (gpte & PTE_ADDR) >> 12;
}

static inline unsigned int table_index(uint64_t gva, int level)
{
	return gva >> (12 + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}

struct page_key page_key_root(const struct cpu_state *cs, enum view view);

/*
 * Of the page that a present entry of page k leads to, if that is no mapping; for a large page, of the page that
 * stands for its 512 parts.
 */
struct page_key page_key_child(const struct page_key *k, uint64_t gpte);

/* Whether the entry maps a page, of 4 KiB or 2 MiB. */
bool gpte_is_leaf(int level, uint64_t gpte);

/* First byte of the page that a leaf entry maps. */
uint64_t gpte_target(int level, uint64_t gpte);

/*
 * The spte for `gpte` in page k, without the address and PS: P, W, U, A, D and NX. 0 if there must be none. A large
 * page's rights hold for its large spte and for the spte that leads to its parts alike: all that the entry says is in
 * there (D not set, in the latter), and the parts may be shared by all that map these frames.
 */
uint64_t spte_rights(const struct page_key *k, uint64_t gpte);
