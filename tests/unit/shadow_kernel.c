#include "tests/unit/shadow_kernel.h"

#include <string.h>

#include "vmm/ensure.h"

#define MARKED (PTE_P | PTE_W | PTE_A | PTE_D)
#define TABLES_MARKED (PTE_A | PTE_D)
#define TSS_BITMAP 102
#define TSS_SIZE 0x68
#define VECTORS 256

static uint64_t gpa_of(struct guest *g, uint64_t gva)
{
	return (*guest_entry(g, gva, 1) & PTE_ADDR) + gva % PAGE_SIZE;
}

void kernel_poke(struct guest *g, uint64_t gva, const void *bytes, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		*guest_ram(g, gpa_of(g, gva + i)) = ((const uint8_t *)bytes)[i];
}

uint64_t kernel_peek(struct guest *g, uint64_t gva)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < 8; i++)
		value |= (uint64_t)*guest_ram(g, gpa_of(g, gva + i)) << 8 * i;
	return value;
}

void kernel_poke64(struct guest *g, uint64_t gva, uint64_t value)
{
	kernel_poke(g, gva, &value, sizeof(value));
}

void kernel_descriptor(struct guest *g, uint16_t selector, uint32_t base, uint32_t limit, unsigned int attributes)
{
	uint64_t at = (selector & 4 ? KERNEL_LDT : KERNEL_GDT) + (selector & ~7u);

	kernel_poke64(g, at, (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attributes & 0xff) << 40 |
				     (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(attributes >> 8 & 0xf) << 52 |
				     (uint64_t)(base >> 24) << 56);
}

void kernel_gate(struct guest *g, unsigned int vector, struct kernel_gate gate)
{
	uint64_t low = (gate.offset & 0xffff) | (uint64_t)gate.selector << 16 | (uint64_t)gate.ist << 32 |
		       (uint64_t)gate.type << 40 | (uint64_t)gate.dpl << 45 | (gate.absent ? 0 : 1ull << 47) |
		       (gate.offset >> 16 & 0xffff) << 48;

	kernel_poke64(g, g->cs.idt.base + vector * 16, low);
	kernel_poke64(g, g->cs.idt.base + vector * 16 + 8, gate.offset >> 32);
}

void kernel_protect(struct guest *g, uint64_t gva, uint64_t clear)
{
	*guest_entry(g, gva, 1) &= ~clear;
}

int kernel_vector(const struct guest *g)
{
	uint64_t distance = g->cs.rip - KERNEL_HANDLER(0);

	return distance < VECTORS * 16 && distance % 16 == 0 ? (int)(distance / 16) : -1;
}

void kernel_enter(struct guest *g, unsigned int cpl)
{
	bool user = cpl == 3;

	g->cs.segment[CPU_CS] = (struct cpu_segment){.selector = user ? SEL_USER_CODE | 3 : SEL_CODE,
						     .attributes = user ? 0xafb : 0xa9b, .limit = UINT32_MAX};
	g->cs.segment[CPU_SS] = (struct cpu_segment){.selector = user ? SEL_USER_DATA | 3 : SEL_DATA,
						     .attributes = user ? 0xcf3 : 0xc93, .limit = UINT32_MAX};
	g->cs.gpr[CPU_RSP] = (user ? USER_STACK : KERNEL_STACK) + 0x1800;
}

static void map_areas(struct guest *g)
{
	static const uint64_t areas[] = {KERNEL_GDT, KERNEL_LDT, KERNEL_IDT, KERNEL_TSS, KERNEL_STACK, KERNEL_IST,
					 KERNEL_DATA, USER_STACK, USER_DATA, USER_CODE};
	uint64_t gpa = 0x200000;

	for (unsigned int i = 0; i < sizeof(areas) / sizeof(*areas); i++)
		for (uint64_t at = 0; at < KERNEL_MAPPED; at += PAGE_SIZE, gpa += PAGE_SIZE)
			guest_map(g, areas[i] + at, gpa, MARKED | (areas[i] < KERNEL_AREA ? PTE_U : 0));
	/* Entries for all levels of what is not mapped. */
	guest_map(g, KERNEL_UNMAPPED, 0, 0);
	for (uint64_t table = g->cs.cr3; table < g->next_table; table += sizeof(uint64_t)) {
		uint64_t *entry = (uint64_t *)(void *)guest_ram(g, table);

		if (*entry & PTE_P)
			*entry |= TABLES_MARKED;
	}
}

static void write_tss(struct guest *g)
{
	const uint16_t bitmap = TSS_SIZE;

	kernel_poke64(g, KERNEL_TSS + 4, KERNEL_STACK + KERNEL_MAPPED);
	for (unsigned int ist = 1; ist <= 7; ist++)
		kernel_poke64(g, KERNEL_TSS + 28 + ist * 8, KERNEL_IST + ist * 0x400);
	kernel_poke(g, KERNEL_TSS + TSS_BITMAP, &bitmap, sizeof(bitmap));
}

static void write_descriptors(struct guest *g)
{
	kernel_descriptor(g, SEL_CODE, 0, 0xfffff, 0xa9b);
	kernel_descriptor(g, SEL_DATA, 0, 0xfffff, 0xc93);
	kernel_descriptor(g, SEL_USER_CODE32, 0, 0xfffff, 0xcfb);
	kernel_descriptor(g, SEL_USER_DATA, 0, 0xfffff, 0xcf3);
	kernel_descriptor(g, SEL_USER_CODE, 0, 0xfffff, 0xafb);
	kernel_descriptor(g, SEL_TSS, (uint32_t)KERNEL_TSS, TSS_SIZE - 1, 0x089);
	kernel_poke64(g, KERNEL_GDT + SEL_TSS + 8, KERNEL_TSS >> 32);
	kernel_descriptor(g, SEL_LDT, (uint32_t)KERNEL_LDT, 0x7f, 0x082);
	kernel_poke64(g, KERNEL_GDT + SEL_LDT + 8, KERNEL_LDT >> 32);
}

void kernel_create(struct guest *g)
{
	struct cpu_state *cs = &g->cs;

	guest_create(g);
	map_areas(g);
	write_tss(g);
	write_descriptors(g);
	cs->idt = (struct cpu_table){KERNEL_IDT, 4095};
	for (unsigned int v = 0; v < VECTORS; v++)
		kernel_gate(g, v, (struct kernel_gate){.offset = KERNEL_HANDLER(v), .selector = SEL_CODE, .type = 0xe, .dpl = 3});
	cs->gdt = (struct cpu_table){KERNEL_GDT, SEL_LIMIT};
	cs->segment[CPU_TR] = (struct cpu_segment){.selector = SEL_TSS, .attributes = 0x08b, .limit = TSS_SIZE - 1,
						   .base = KERNEL_TSS};
	cs->segment[CPU_LDTR] = (struct cpu_segment){.selector = SEL_LDT, .attributes = 0x082, .limit = 0x7f,
						     .base = KERNEL_LDT};
	cs->cr0 |= CR0_NE | CR0_ET;
	cs->efer |= EFER_SCE;
	cs->rip = USER_CODE;
	kernel_enter(g, 0);
}
