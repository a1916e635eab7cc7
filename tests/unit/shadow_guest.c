#include "tests/unit/shadow_guest.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/ensure.h"

#define TABLES 0x100000ull
#define OPEN (PTE_P | PTE_W | PTE_U)
#define SEGMENT_CODE64 0x29bu /* present, code, L */
#define SEGMENT_DATA 0x93u

static bool device(struct gmem *gm, struct access *a)
{
	struct guest *g = (struct guest *)((char *)gm - offsetof(struct guest, gmem));

	if (access_is_read(a->kind))
		a->value = guest_device_value(g, a->addr, a->size);
	if (g->accesses < GUEST_LOG)
		g->access[g->accesses] = *a;
	g->accesses++;
	return g->accesses != g->end_at;
}

static void stored(struct gmem *gm, uint64_t gpa, uint64_t size)
{
	struct guest *g = (struct guest *)((char *)gm - offsetof(struct guest, gmem));

	if (g->stores < GUEST_LOG) {
		g->stored[g->stores].gpa = gpa;
		g->stored[g->stores].size = size;
	}
	g->stores++;
}

void guest_create(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	ensure(mem_create(&g->ram, GUEST_RAM, MEM_HUGE_NEVER) == 0);
	g->gmem = (struct gmem){.mem = &g->ram, .cs = &g->cs, .stored = stored, .device = device};
	g->next_table = TABLES + PAGE_SIZE;
	g->cs.cr0 = CR0_PE | CR0_PG | CR0_WP;
	g->cs.cr3 = TABLES;
	g->cs.cr4 = CR4_PAE | CR4_OSFXSR;
	g->cs.efer = EFER_LME | EFER_LMA | EFER_NXE;
	g->cs.rflags = RFLAGS_ONE | RFLAGS_IF;
	guest_set_cpl(g, 3);
}

void guest_destroy(struct guest *g)
{
	mem_destroy(&g->ram);
}

void guest_set_cpl(struct guest *g, unsigned int cpl)
{
	uint16_t dpl = (uint16_t)(cpl << CPU_SEGMENT_DPL_SHIFT);

	g->cs.segment[CPU_CS].attributes = SEGMENT_CODE64 | dpl;
	g->cs.segment[CPU_SS].attributes = SEGMENT_DATA | dpl;
}

static uint64_t index_of(uint64_t gva, int level)
{
	return gva >> (12 + 9 * (level - 1)) & 511;
}

static uint64_t *entry_in(struct guest *g, uint64_t table, uint64_t gva, int level)
{
	return (uint64_t *)(void *)guest_ram(g, table) + index_of(gva, level);
}

uint64_t *guest_entry(struct guest *g, uint64_t gva, int level)
{
	uint64_t table = g->cs.cr3;

	for (int l = WALK_LEVELS; l > level; l--) {
		uint64_t entry = *entry_in(g, table, gva, l);

		ensure(entry & PTE_P);
		table = entry & PTE_ADDR;
	}
	return entry_in(g, table, gva, level);
}

void guest_map(struct guest *g, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	for (int level = WALK_LEVELS; level > 1; level--) {
		uint64_t *entry = guest_entry(g, gva, level);

		if (*entry)
			continue;
		*entry = g->next_table | OPEN;
		g->next_table += PAGE_SIZE;
		ensure(g->next_table <= 2 * TABLES);
	}
	*guest_entry(g, gva, 1) = gpa | flags;
}

void guest_forget(struct guest *g)
{
	for (uint64_t gpa = TABLES; gpa < g->next_table; gpa += sizeof(uint64_t))
		*(uint64_t *)(void *)guest_ram(g, gpa) &= ~(PTE_A | PTE_D);
	g->accesses = 0;
	g->stores = 0;
}

uint8_t *guest_ram(struct guest *g, uint64_t gpa)
{
	ensure(gpa < GUEST_RAM);
	return g->ram.region[0].hva + gpa;
}

uint64_t guest_device_value(const struct guest *g, uint64_t addr, unsigned int size)
{
	uint64_t value = (g->device_seed + addr) * 0x9e3779b97f4a7c15ull ^ size;

	return size == 8 ? value : value & ((1ull << 8 * size) - 1);
}
