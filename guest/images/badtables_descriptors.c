#include "guest/images/badtables_descriptors.h"

#include <stddef.h>

#include "guest/images/badtables.h"
#include "guest/kernel/layout.h"
#include "guest/lib/string.h"

#define TSS_RSP0 4u
#define TSS_IST(n) (36u + ((n) - 1) * 8u)
#define TSS_AVAILABLE (0x89ull << 40)

extern const struct table_pointer idt_pointer, gdt_pointer;
extern const uint8_t idt[VECTOR_COUNT * GATE_SIZE];

/* As AMD APM vol. 2, 4.8.4 has it. */
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

static struct gate *gate_at(uint64_t gpa, unsigned int vector)
{
	return (struct gate *)page_pointer(gpa) + vector;
}

static void lidt(const struct table_pointer *pointer)
{
	__asm__ volatile("lidt %0" : : "m"(*pointer));
}

static void lgdt(const struct table_pointer *pointer)
{
	__asm__ volatile("lgdt %0" : : "m"(*pointer));
}

/* LTR takes only a TSS that is not busy. */
static void load_tr(uint64_t base, uint16_t limit)
{
	volatile uint64_t *descriptor = (volatile uint64_t *)page_pointer(gdt_pointer.base) + TSS_SELECTOR / 8;

	descriptor[0] = limit | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56 | TSS_AVAILABLE;
	descriptor[1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR) : "memory");
}

void bad_restore_descriptors(void)
{
	lidt(&idt_pointer);
	lgdt(&gdt_pointer);
	load_tr((uint64_t)bad_boot_tss, TSS_SIZE - 1);
	bad_tss_stack((uint64_t)bad_boot_tss, 0, bad_ring3_stack());
	bad_tss_stack((uint64_t)bad_boot_tss, 1, FAULT_STACK_TOP);
	bad_tss_stack((uint64_t)bad_boot_tss, 2, 0);
}

void bad_load_idt(uint64_t base, uint16_t limit)
{
	const struct table_pointer pointer = { limit, base };

	lidt(&pointer);
}

void bad_place_idt(uint64_t gva, uint64_t gpa)
{
	memcpy(page_pointer(gpa), idt, sizeof(idt));
	bad_load_idt(gva, sizeof(idt) - 1);
}

void bad_place_gdt(uint64_t gva, uint64_t gpa, uint16_t limit)
{
	const struct table_pointer pointer = { limit, gva };

	memset(page_pointer(gpa), 0, limit + 1u);
	memcpy(page_pointer(gpa), page_pointer(gdt_pointer.base), gdt_pointer.limit + 1u);
	lgdt(&pointer);
}

void bad_place_tss(uint64_t gva, uint64_t gpa, uint16_t limit)
{
	memcpy(page_pointer(gpa), bad_boot_tss, TSS_SIZE);
	load_tr(gva, limit);
}

void bad_gate_ist(uint64_t gpa, unsigned int vector, uint8_t ist)
{
	gate_at(gpa, vector)->ist = ist;
}

void bad_gate_handler(uint64_t gpa, unsigned int vector, uint64_t handler)
{
	struct gate *gate = gate_at(gpa, vector);

	gate->offset_low = (uint16_t)handler;
	gate->offset_middle = (uint16_t)(handler >> 16);
	gate->offset_high = (uint32_t)(handler >> 32);
}

void bad_gate_selector(uint64_t gpa, unsigned int vector, uint16_t selector)
{
	gate_at(gpa, vector)->selector = selector;
}

void bad_gate_absent(uint64_t gpa, unsigned int vector)
{
	gate_at(gpa, vector)->type &= 0x7f;
}

void bad_tss_stack(uint64_t gpa, unsigned int ist, uint64_t rsp)
{
	memcpy((uint8_t *)page_pointer(gpa) + (ist ? TSS_IST(ist) : TSS_RSP0), &rsp, sizeof(rsp));
}
