/*
 * A walk of the guest's page tables as the CPU model would do it, in two steps: the walk itself has no side effects, and
 * what it leaves in the entries (accessed, dirty) is done when the access is known to happen. Pure code over guest RAM and a CPU state (AMD APM vol. 2, 5.3-5.6; Intel SDM vol. 3, 4.5-4.7).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_state;
struct mem;

#define WALK_LEVELS 4

/* Bits of a page-fault error code. */
#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RESERVED 8u
#define PF_FETCH 16u

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000000fffffff000ull /* 40 physical address bits: the CPU model's */

struct walk {
	int fault;	     /* 0, or the guest would fault */
	uint32_t error;	     /* with fault: the error code hardware would push */
	uint64_t gpa;	     /* without: where gva leads */
	int level;	     /* of the last entry read: 1 = page table, 2 = PD (2 MiB page), 3, 4; 0 = paging is off */
	uint64_t gpte_gpa[WALK_LEVELS + 1]; /* by level: where the entry lies */
	uint64_t gpte[WALK_LEVELS + 1];	    /* and what it held */
};

/*
 * Walks for an access (enum mmu_access: MMU_WRITE, MMU_EXEC, MMU_USER combined). Knows 4-level long mode with 4 KiB and
 * 2 MiB pages and paging switched off; any other paging mode and a table outside RAM count as a fault, not present.
 */
void walk_guest(struct mem *m, const struct cpu_state *cs, uint64_t gva, unsigned int access, struct walk *w);

/*
 * Sets accessed in every entry of `w`, a finished walk for `access` that did not fault, and for a write dirty in the last
 * one, as the CPU does before it uses the translation: each with a locked compare, and only where the bit is not set
 * yet, so that a page of tables becomes dirty (mem.h) only if it changes. w->gpte follows. Returns false if an entry is
 * not what the walk read, accessed and dirty apart: nothing below it was touched, and the caller walks again.
 */
bool walk_mark(struct mem *m, struct walk *w, unsigned int access);
