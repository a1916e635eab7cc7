#include "tests/vm/scenario.h"

#include <stddef.h>
#include <string.h>

#include "guest/abi.h"
#include "shadow/rflags.h"
#include "tests/vm/scenario_insn.h"
#include "vmm/ensure.h"

#define TSS_TYPE_BUSY 0x8bu
#define LDT_TYPE 0x82u

static uint64_t below(struct scenario *s, uint64_t limit)
{
	return random_below(&s->random, limit);
}

bool scenario_chance(struct scenario *s, unsigned int percent)
{
	return below(s, 100) < percent;
}

void scenario_put64(struct scenario *s, uint64_t gpa, uint64_t value)
{
	ensure(gpa + sizeof(value) <= SCENARIO_RAM);
	memcpy(s->ram + gpa, &value, sizeof(value));
}

void scenario_put(struct scenario *s, uint64_t gva, const void *bytes, unsigned int size)
{
	if (gva < SCENARIO_RAM && gva + size <= SCENARIO_RAM)
		memcpy(s->ram + gva, bytes, size);
}

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned int attributes)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attributes & 0xff) << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(attributes >> 8 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

static unsigned int maybe_accessed(struct scenario *s)
{
	return scenario_chance(s, 50) ? 1 : 0;
}

/* Code is accessed already: no software CPU at hand marks a handler's. Code that is not 64-bit code is flat 32-bit code, so that the store that ends it is what it reads as. */
static uint64_t random_code(struct scenario *s, unsigned int attributes)
{
	if (!(attributes & 0x200))
		attributes |= 0x400;
	else if (scenario_chance(s, 80) || (s->avoid & AVOID_LONG_AND_DB))
		attributes &= ~0x400u;
	return descriptor(0, 0xfffff, attributes | 0x801);
}

static void put_random_descriptor(struct scenario *s, uint64_t gva)
{
	unsigned int attributes = (unsigned int)random_next(&s->random) & 0xfff;
	uint64_t upper = 0;

	attributes = scenario_chance(s, 75) ? attributes | 0x80 : attributes;
	attributes = scenario_chance(s, 75) ? attributes | 0x10 : attributes;
	if (!(attributes & 0x10) && scenario_chance(s, 60))
		attributes = (attributes & ~0xfu) | (scenario_chance(s, 50) ? 0x9 : 0x2);
	if ((attributes & 0x1f) == 1 && (s->avoid & AVOID_ODD_SYSTEM))
		attributes = 2;
	if (!(attributes & 0x10) && scenario_chance(s, 30))
		upper = random_next(&s->random) >> (s->avoid & AVOID_ODD_SYSTEM ? 49 : 17);
	if ((attributes & 0x18) == 0x18)
		scenario_put64(s, gva, random_code(s, attributes));
	else
		scenario_put64(s, gva, descriptor((uint32_t)random_next(&s->random), (uint32_t)below(s, 0x100000), attributes));
	if (!(attributes & 0x10))
		scenario_put64(s, gva + 8, upper);
}

/* Sometimes the tables lie across pages, and sometimes their ends are cut off. */
static void make_gdt(struct scenario *s)
{
	uint64_t base = SCENARIO_GDT + (scenario_chance(s, 50) ? 0 : 0x1000 - 8 * below(s, 20));

	base += scenario_chance(s, 10) && !(s->avoid & AVOID_SPLIT_DESCRIPTOR) ? 4 : 0;
	/* From the end, so that an upper half stays what it is. */
	for (unsigned int i = SCENARIO_SELECTORS; i-- > 10;)
		put_random_descriptor(s, base + i * 8);
	scenario_put64(s, base + 0x08, descriptor(0, 0xfffff, 0xa9b));
	scenario_put64(s, base + 0x10, descriptor(0, 0xfffff, 0xc92 | maybe_accessed(s)));
	scenario_put64(s, base + 0x18, descriptor(0, 0xfffff, 0xcfb));
	scenario_put64(s, base + 0x20, descriptor(0, 0xfffff, 0xcf2 | maybe_accessed(s)));
	scenario_put64(s, base + 0x28, descriptor(0, 0xfffff, 0xafb));
	scenario_put64(s, base + 0x30, descriptor(SCENARIO_TSS, 0x67, 0x89));
	scenario_put64(s, base + 0x38, 0);
	scenario_put64(s, base + 0x40, descriptor(SCENARIO_LDT, 0x7f, LDT_TYPE));
	scenario_put64(s, base + 0x48, 0);
	s->cs.gdt = (struct cpu_table){base, SCENARIO_SELECTORS * 8 - 1};
	if (scenario_chance(s, 5))
		s->cs.gdt.limit = (uint16_t)below(s, SCENARIO_SELECTORS * 8);
	for (unsigned int i = 16; i-- > 0;)
		put_random_descriptor(s, SCENARIO_LDT + i * 8);
}

uint16_t scenario_null(const struct scenario *s, uint16_t selector)
{
	return (s->avoid & AVOID_NULL_RPL) && selector < 4 ? 0 : selector;
}

uint16_t scenario_selector(struct scenario *s)
{
	static const uint16_t good[] = {0x08, 0x10, 0x1b, 0x23, 0x2b, 0x30, 0x40, 0};
	uint16_t n = (uint16_t)below(s, 4);

	if (scenario_chance(s, 40))
		return good[below(s, sizeof(good) / sizeof(*good))];
	if (scenario_chance(s, 15))
		return (uint16_t)(below(s, 18) * 8 | 4 | n);
	if (scenario_chance(s, 5))
		return (uint16_t)random_next(&s->random);
	return scenario_null(s, (uint16_t)(below(s, SCENARIO_SELECTORS + 2) * 8 | n));
}

uint64_t scenario_target(struct scenario *s, unsigned int cpl)
{
	uint64_t page = cpl == 3 ? SCENARIO_USER_CODE : SCENARIO_HANDLERS;

	if (scenario_chance(s, 4))
		return 1ull << (47 + below(s, 17));
	if (scenario_chance(s, 4))
		return SCENARIO_UNMAPPED + below(s, 4096);
	if (scenario_chance(s, 3))
		page = SCENARIO_KERNEL_DATA;
	return page + below(s, 255) * 16;
}

static unsigned int gate_type(struct scenario *s)
{
	return scenario_chance(s, 97) ? 0xe + (unsigned int)below(s, 2) : (unsigned int)below(s, 32);
}

static void put_gate(struct scenario *s, unsigned int vector, uint64_t offset, uint16_t selector, unsigned int ist)
{
	uint64_t at = s->cs.idt.base + vector * 16, dpl = scenario_chance(s, 50) ? 3 : below(s, 4);
	uint64_t present = scenario_chance(s, 97);

	scenario_put64(s, at, (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 |
		     (uint64_t)gate_type(s) << 40 | dpl << 45 | present << 47 | (offset >> 16 & 0xffff) << 48);
	scenario_put64(s, at + 8, offset >> 32);
}

static void make_idt(struct scenario *s)
{
	s->cs.idt.base = SCENARIO_IDT + (scenario_chance(s, 50) ? 0 : 8 * below(s, 512));
	s->cs.idt.limit = (uint16_t)(scenario_chance(s, 95) ? 4095 : below(s, 4096));
	for (unsigned int vector = 0; vector < 256; vector++) {
		uint64_t offset = SCENARIO_HANDLERS + vector * 16;
		bool other = scenario_chance(s, 10);
		uint16_t other_selector = scenario_selector(s), selector = other && !(s->avoid & AVOID_ODD_HANDLER) ?
									   other_selector : 0x08;

		if (scenario_chance(s, 3))
			offset = scenario_target(s, 0);
		if ((s->avoid & AVOID_ODD_OFFSET) && offset >= SCENARIO_RAM)
			offset = SCENARIO_UNMAPPED;
		put_gate(s, vector, offset, selector, scenario_chance(s, 70) ? 0 : (unsigned int)below(s, 8));
	}
}

uint64_t scenario_stack(struct scenario *s, uint64_t area)
{
	uint64_t at = area + 4096 + below(s, 4096);

	if (scenario_chance(s, 30))
		at = area + 4096 + below(s, 64) - 16;
	if (scenario_chance(s, 4))
		at = SCENARIO_UNMAPPED + below(s, 8192);
	if (scenario_chance(s, 3) && !(s->avoid & AVOID_ODD_STACK))
		at = (scenario_chance(s, 50) ? 0xffff800000000000 : 0x0000800000000000) + below(s, 80) - 24;
	return scenario_chance(s, 70) ? at & ~7ull : at;
}

static uint64_t tss_stack(struct scenario *s, uint64_t area)
{
	uint64_t at = scenario_stack(s, area);

	return (s->avoid & AVOID_ODD_TSS_STACK) && at >= SCENARIO_RAM ? area + 4096 : at;
}

static void make_tss(struct scenario *s)
{
	uint64_t base = SCENARIO_TSS + (scenario_chance(s, 50) ? 0 : 0x1000 - below(s, 128));
	uint16_t bitmap = (uint16_t)(0x68 + below(s, 64));

	for (unsigned int i = 0; i < 3; i++)
		scenario_put64(s, base + 4 + i * 8, tss_stack(s, SCENARIO_KERNEL_STACK));
	for (unsigned int i = 0; i < 7; i++)
		scenario_put64(s, base + 36 + i * 8, tss_stack(s, SCENARIO_IST_STACK));
	memcpy(s->ram + base + 102, &bitmap, sizeof(bitmap));
	for (unsigned int i = 0; i < 64; i++)
		s->ram[base + bitmap + i] = scenario_chance(s, 70) ? 0 : (uint8_t)random_next(&s->random);
	s->cs.segment[CPU_TR] = (struct cpu_segment){.selector = 0x30, .attributes = TSS_TYPE_BUSY, .base = base,
						     .limit = (uint32_t)(bitmap + 64)};
	if (scenario_chance(s, 5))
		s->cs.segment[CPU_TR].limit = (uint32_t)below(s, 0xc0);
	if ((s->avoid & AVOID_BITMAP_END) && s->cs.segment[CPU_TR].limit >= bitmap)
		s->ram[base + s->cs.segment[CPU_TR].limit] = 0xff;
}

/* The store: `mov [moffs], al`, which in 32-bit code reads as the same with a shorter address. */
void scenario_put_end(struct scenario *s, uint64_t gva)
{
	static const uint8_t bytes[] = {0xa2, SCENARIO_DEVICE & 0xff, SCENARIO_DEVICE >> 8 & 0xff,
					SCENARIO_DEVICE >> 16 & 0xff, 0, 0, 0, 0, 0};

	scenario_put(s, gva, bytes, sizeof(bytes));
}

static void fill_with_ends(struct scenario *s, uint64_t page)
{
	for (uint64_t at = 0; at < 4096; at += 16)
		scenario_put_end(s, page + at);
}

static void set_segments(struct scenario *s, unsigned int cpl)
{
	struct cpu_segment data = {.selector = cpl == 3 ? 0x23 : 0x10, .attributes = cpl == 3 ? 0xcf3 : 0xc93,
				   .limit = UINT32_MAX};

	s->cs.segment[CPU_ES] = s->cs.segment[CPU_SS] = s->cs.segment[CPU_DS] = s->cs.segment[CPU_FS] = data;
	s->cs.segment[CPU_GS] = data;
	if (cpl == 0 && scenario_chance(s, 30))
		s->cs.segment[CPU_SS] = (struct cpu_segment){.limit = 0};
	for (unsigned int i = 0; i < 4; i++)
		if (scenario_chance(s, 25))
			s->cs.segment[(enum cpu_segment_name[]){CPU_ES, CPU_DS, CPU_FS, CPU_GS}[i]] =
				(struct cpu_segment){.limit = 0};
	s->cs.segment[CPU_FS].base = scenario_chance(s, 50) ? 0 : 0x7f0000001000;
	s->cs.segment[CPU_GS].base = scenario_chance(s, 50) ? 0 : 0xffff888000002000;
	s->cs.segment[CPU_CS] = (struct cpu_segment){.selector = cpl == 3 ? 0x2b : 0x08,
						     .attributes = cpl == 3 ? 0xafb : 0xa9b, .limit = UINT32_MAX};
	if (scenario_chance(s, 80))
		s->cs.segment[CPU_LDTR] = (struct cpu_segment){.selector = 0x40, .attributes = LDT_TYPE, .limit = 0x7f,
							       .base = SCENARIO_LDT};
}

static void set_control(struct scenario *s)
{
	struct cpu_state *cs = &s->cs;

	cs->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP | CR0_PG | (scenario_chance(s, 70) ? CR0_WP : 0) |
		  (scenario_chance(s, 20) ? CR0_TS : 0);
	cs->cr2 = random_next(&s->random);
	cs->cr3 = SCENARIO_PML4 | (scenario_chance(s, 10) ? 0x18 : 0);
	cs->cr4 = CR4_PAE | CR4_OSFXSR | (scenario_chance(s, 30) ? CR4_DE : 0) | (scenario_chance(s, 30) ? CR4_PGE : 0) |
		  (scenario_chance(s, 10) ? CR4_TSD : 0);
	/* Chance comes first, so that a seed means the same on every host. */
	if (scenario_chance(s, 50) && (s->cpu & ABI_CPU_UMIP))
		cs->cr4 |= CR4_UMIP;
	if (scenario_chance(s, 20) && (s->cpu & ABI_CPU_SMEP))
		cs->cr4 |= CR4_SMEP;
	cs->efer = EFER_LME | EFER_LMA | EFER_NXE | (scenario_chance(s, 80) || (s->avoid & AVOID_NO_SYSCALL) ? EFER_SCE : 0);
	cs->dr6 = 0xffff0ff0;
	cs->dr7 = 0x400;
}

static void set_msrs(struct scenario *s)
{
	struct cpu_state *cs = &s->cs;

	cs->msr[CPU_MSR_STAR] = 0x0018000800000000;
	if (scenario_chance(s, 20) && !(s->avoid & AVOID_NO_SYSCALL))
		cs->msr[CPU_MSR_STAR] = random_next(&s->random);
	cs->msr[CPU_MSR_LSTAR] = SCENARIO_HANDLERS;
	cs->msr[CPU_MSR_CSTAR] = SCENARIO_HANDLERS + 16;
	cs->msr[CPU_MSR_SFMASK] = 0x47700;
	cs->msr[CPU_MSR_KERNEL_GS_BASE] = scenario_chance(s, 50) ? 0x1234000 : 0xffffffff81000000;
	cs->msr[CPU_MSR_SYSENTER_CS] = 0x08;
	cs->msr[CPU_MSR_PAT] = 0x0007040600070406;
}

static void set_registers(struct scenario *s, unsigned int cpl)
{
	const uint64_t flags = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF | RFLAGS_AC |
			       RFLAGS_ID | RFLAGS_IF | RFLAGS_IOPL;

	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		s->cs.gpr[i] = random_next(&s->random);
	s->cs.gpr[CPU_RSP] = scenario_stack(s, cpl == 3 ? SCENARIO_USER_STACK : SCENARIO_KERNEL_STACK);
	s->cs.rflags = RFLAGS_ONE | (random_next(&s->random) & flags) | (scenario_chance(s, 20) ? RFLAGS_NT : 0);
	if (s->avoid & AVOID_SYSTEM_FLAGS)
		s->cs.rflags &= ~(RFLAGS_AC | (cpl == 3 ? RFLAGS_IOPL | RFLAGS_NT : 0));
	if (s->avoid & AVOID_IO_BITMAP)
		s->cs.rflags |= cpl == 3 ? RFLAGS_IOPL : 0;
	s->cs.rip = cpl == 3 ? SCENARIO_USER_CODE + 16 * (1 + below(s, 250)) : SCENARIO_KERNEL_CODE + 16 * below(s, 250);
	if (scenario_chance(s, 15))
		s->cs.rip = (cpl == 3 ? SCENARIO_USER_CODE : SCENARIO_KERNEL_CODE) + 4096 - below(s, 8);
}

static void mark_all(struct scenario *s, uint64_t base, unsigned int count)
{
	for (unsigned int i = 1; i < count; i++)
		if (s->ram[base + i * 8 + 5] & 0x10)
			s->ram[base + i * 8 + 5] |= 1;
}

static void reset(struct scenario *s)
{
	memset(s->ram, 0, SCENARIO_RAM);
	memset(&s->cs, 0, offsetof(struct cpu_state, xsave));
	s->interrupt = -1;
	s->tags = 0;
}

void scenario_make(struct scenario *s)
{
	unsigned int cpl, damages;

	reset(s);
	cpl = scenario_chance(s, 65) ? 0 : 3;
	s->tags |= cpl ? TAG_RING3 : 0;
	scenario_map(s);
	make_gdt(s);
	make_tss(s);
	make_idt(s);
	fill_with_ends(s, SCENARIO_HANDLERS);
	fill_with_ends(s, SCENARIO_USER_CODE);
	set_control(s);
	set_msrs(s);
	set_segments(s, cpl);
	set_registers(s, cpl);
	scenario_put_insns(s);
	if ((s->avoid & AVOID_UNMARKED) && (s->tags & TAG_FRAME)) {
		mark_all(s, s->cs.gdt.base, SCENARIO_SELECTORS);
		mark_all(s, SCENARIO_LDT, 16);
	}
	damages = scenario_chance(s, 50) ? 0 : 1 + (unsigned int)below(s, 2);
	while (damages--)
		scenario_damage(s);
}

uint64_t scenario_device_value(unsigned int n, unsigned int size)
{
	uint64_t value = (n + 1) * 0x9e3779b97f4a7c15;

	return size == 8 ? value : value & ((1ull << 8 * size) - 1);
}
