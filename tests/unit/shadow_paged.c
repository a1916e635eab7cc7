#include "tests/unit/shadow_paged.h"

#include <string.h>

#include "tests/unit/expect.h"
#include "vmm/mmu.h"

uint64_t paged_table(struct paged *g)
{
	uint64_t page = g->next;

	g->next += PAGE_SIZE;
	memset(mem_at(&g->m.ram, page, PAGE_SIZE, MEM_WRITE), 0, PAGE_SIZE);
	return page;
}

void paged_create(struct paged *g, uint64_t ram, uint32_t pool)
{
	machine_create(&g->m, ram, pool);
	g->next = PAGED_TABLES;
	g->m.cs.cr3 = paged_table(g);
}

uint64_t paged_entry(struct paged *g, uint64_t gva, int level)
{
	uint64_t table = g->m.cs.cr3;

	for (int l = 4; l > level; l--) {
		uint64_t *gpte = machine_word(&g->m, table + (gva >> (3 + 9 * l) & 511) * 8);

		if (!*gpte)
			*gpte = paged_table(g) | PAGED_TABLE_BITS;
		table = *gpte & PTE_ADDR;
	}
	return table + (gva >> (3 + 9 * level) & 511) * 8;
}

void paged_map(struct paged *g, uint64_t gva, uint64_t gpte)
{
	*machine_word(&g->m, paged_entry(g, gva, 1)) = gpte;
}

uint64_t paged_ends(struct paged *g, uint64_t gva, unsigned int access, enum machine_verdict expected)
{
	uint64_t before = g->m.exits, gpa = 0;
	struct walk w;
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;

	expect_eq(machine_access(&g->m, gva, access | user, PAGED_TRIES, &gpa, &w), expected);
	machine_check(&g->m);
	return g->m.exits - before;
}

uint64_t paged_touch(struct paged *g, uint64_t gva, uint64_t pages, unsigned int access)
{
	uint64_t exits = 0, gpa = 0;
	struct walk w;
	unsigned int user = g->m.view == VIEW_USER ? MMU_USER : 0;

	for (uint64_t i = 0; i < pages; i++) {
		exits -= g->m.exits;
		expect_eq(machine_access(&g->m, gva + i * PAGE_SIZE, access | user, PAGED_TRIES, &gpa, &w), MACHINE_DONE);
		exits += g->m.exits;
	}
	return exits;
}
