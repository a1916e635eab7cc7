#include <string.h>

#include "tests/vm/scenario_insn.h"
#include "vmm/walk.h"

/* Frames of the tables. All that lies below 1 MiB is mapped where it lies. */
#define PML4_SECOND 0x2000ull
#define PDPT_LOW 0x3000ull
#define PD_LOW 0x4000ull
#define PT_LOW SCENARIO_TABLE
#define EDGE_TABLES 0x6000ull /* PDPT, PD, PT of the last page below the hole, then of the first above */

static uint64_t get64(const struct scenario *s, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, s->ram + gpa, sizeof(value));
	return value;
}

static uint64_t random_marks(struct scenario *s)
{
	return (scenario_chance(s, 50) ? PTE_A : 0) | (scenario_chance(s, 50) ? PTE_D : 0);
}

/* Accessed: whether a walk that faults marks the entries above is the CPU's own affair, and CPUs differ. */
static uint64_t table_flags(void)
{
	return PTE_P | PTE_W | PTE_U | PTE_A;
}

static bool is_user_page(uint64_t gva)
{
	return gva >= SCENARIO_USER_STACK && gva < SCENARIO_USER_END;
}

static bool is_code_page(uint64_t gva)
{
	return gva - SCENARIO_USER_CODE < 0x2000 || gva - SCENARIO_HANDLERS < 0x3000;
}

static void map_low_page(struct scenario *s, uint64_t gva)
{
	uint64_t flags = PTE_P | PTE_W | random_marks(s) | (is_user_page(gva) ? PTE_U : 0);

	/* A CPU may fetch more than it executes. */
	if (is_code_page(gva))
		flags |= PTE_A;

	scenario_put64(s, PT_LOW + gva / 4096 * 8, gva | flags);
}

/* The pages on both sides of the hole in the address space, for stacks that end there. */
static void map_edges(struct scenario *s)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t tables = EDGE_TABLES + i * 0x3000, index = i ? 0 : 511;

		scenario_put64(s, SCENARIO_PML4 + (i ? 256 : 255) * 8, tables | table_flags());
		scenario_put64(s, tables + index * 8, (tables + 0x1000) | table_flags());
		scenario_put64(s, tables + 0x1000 + index * 8, (tables + 0x2000) | table_flags());
		scenario_put64(s, tables + 0x2000 + index * 8, (SCENARIO_EDGE_FRAME + i * 4096) | PTE_P | PTE_W | random_marks(s));
	}
}

void scenario_map(struct scenario *s)
{
	scenario_put64(s, SCENARIO_PML4, PDPT_LOW | table_flags());
	scenario_put64(s, PDPT_LOW, PD_LOW | table_flags());
	scenario_put64(s, PD_LOW, PT_LOW | table_flags());
	for (uint64_t gva = 0x1000; gva < SCENARIO_MAPPED; gva += 4096)
		map_low_page(s, gva);
	scenario_put64(s, PT_LOW + SCENARIO_DEVICE / 4096 * 8,
	      SCENARIO_DEVICE_GPA | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D);
	if (scenario_chance(s, 50))
		scenario_put64(s, PT_LOW + SCENARIO_HANDLERS / 4096 * 8,
		      get64(s, PT_LOW + SCENARIO_HANDLERS / 4096 * 8) | PTE_U);
	map_edges(s);
	memcpy(s->ram + PML4_SECOND, s->ram + SCENARIO_PML4, 4096);
}

void scenario_damage(struct scenario *s)
{
	static const uint64_t pages[] = {
		SCENARIO_GDT, SCENARIO_GDT + 4096, SCENARIO_LDT, SCENARIO_IDT, SCENARIO_IDT + 4096, SCENARIO_TSS,
		SCENARIO_TSS + 4096, SCENARIO_KERNEL_STACK, SCENARIO_KERNEL_STACK + 4096, SCENARIO_KERNEL_STACK + 8192,
		SCENARIO_IST_STACK, SCENARIO_IST_STACK + 4096, SCENARIO_USER_STACK, SCENARIO_USER_STACK + 4096,
		SCENARIO_KERNEL_DATA, SCENARIO_KERNEL_DATA + 4096, SCENARIO_USER_DATA, SCENARIO_USER_DATA + 4096,
		SCENARIO_USER_CODE, SCENARIO_KERNEL_CODE + 4096,
	};
	static const uint64_t flips[] = {PTE_P, PTE_P, PTE_W, PTE_W, PTE_W, PTE_U, PTE_NX, 1ull << 45};
	uint64_t at = PT_LOW + pages[random_below(&s->random, sizeof(pages) / sizeof(*pages))] / 4096 * 8;

	if (scenario_chance(s, 3))
		at = PD_LOW;
	scenario_put64(s, at, get64(s, at) ^ flips[random_below(&s->random, sizeof(flips) / sizeof(*flips))]);
}
