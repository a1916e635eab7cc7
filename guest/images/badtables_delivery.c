/* badtables: IDT, GDT and TSS where an event cannot find them, or finds them in a table in use. */
#include <stddef.h>

#include "guest/images/badtables_common.h"
#include "guest/images/badtables_descriptors.h"
#include "guest/kernel/layout.h"
#include "guest/lib/string.h"

extern const uint8_t bad_read[], bad_invalid[], bad_lidt[], bad_lgdt[];

/* ---- IDT. */

static void idt_split(bool user)
{
	uint64_t base;
	struct outcome o;

	base = 7 * GATE_SIZE;
	delivery_map(0, NOT_MAPPED);
	delivery_map(1, OPEN);
	bad_place_idt(WINDOW(1) - base, bad_page(1) - base);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("gate of #UD not mapped, %s", delivery_ring(user));
	delivery_expect_fault(&o, 0, WINDOW(1) - GATE_SIZE, bad_invalid);
	bad_map(WINDOW(0), bad_page(0), OPEN | PTE_RESERVED);
	bad_flush();
	bad_place_idt(WINDOW(1) - base, bad_page(1) - base);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("gate of #UD under a reserved bit, %s", delivery_ring(user));
	delivery_expect_fault(&o, FAULT_PRESENT | FAULT_RESERVED, WINDOW(1) - GATE_SIZE, bad_invalid);
	base = VECTOR_PAGE_FAULT * GATE_SIZE;
	delivery_map(0, OPEN);
	delivery_map(1, NOT_MAPPED);
	bad_place_idt(WINDOW(1) - base, bad_page(1) - base);
	o = delivery_run(bad_read, user, NOTHING, 0);
	bad_case("gate of #PF not mapped, %s", delivery_ring(user));
	delivery_expect_double(&o, WINDOW(1));
	bad_place_idt(WINDOW(1) - base - 8, bad_page(1) - base - 8);
	o = delivery_run(bad_read, user, NOTHING, 0);
	bad_case("second half of the gate of #PF not mapped, %s", delivery_ring(user));
	delivery_expect_double(&o, WINDOW(1));
	delivery_own_idt(0);
	bad_load_idt(WINDOW(IDT_PAGE), VECTOR_PAGE_FAULT * GATE_SIZE - 1);
	o = delivery_run(bad_read, user, NOTHING, 0);
	bad_case("IDT ends before the gate of #PF, %s", delivery_ring(user));
	delivery_expect_double(&o, NOTHING);
}

static void idt_of_ring3(bool user)
{
	struct outcome o;

	bad_map(WINDOW(0), bad_page(0), PTE_P | PTE_U | PTE_NX);
	bad_flush();
	bad_place_idt(WINDOW(0) + 16, bad_page(0) + 16);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("IDT in a read-only page of ring 3, not accessed yet, %s", delivery_ring(user));
	bad_expect_trap(&o, VECTOR_INVALID_OPCODE, 0);
	bad_expect_value("flags of its page", *bad_entry(WINDOW(0), 1) & 0xfff, PTE_P | PTE_U | PTE_A);
}

static void idt_in_table(bool user)
{
	struct outcome o;

	delivery_live_table(200, 3);
	bad_case("IDT in a table, %s", delivery_ring(user));
	delivery_expect_tag(200, 3, user);
	bad_place_idt(WINDOW(TABLE), bad_page(TABLE));
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_expect_trap(&o, VECTOR_INVALID_OPCODE, 0);
	bad_load_idt(WINDOW(TABLE), VECTOR_COUNT * GATE_SIZE - 1);
	o = delivery_run(bad_read, user, NOTHING, 0);
	bad_expect_fault(&o, user ? FAULT_USER : 0, NOTHING);
	bad_gate_handler(bad_page(TABLE), VECTOR_INVALID_OPCODE, TEXT_BASE + VECTOR_DIVIDE * VECTOR_STUB);
	bad_load_idt(WINDOW(TABLE), VECTOR_COUNT * GATE_SIZE - 1);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_expect_trap(&o, VECTOR_DIVIDE, 0);
	delivery_live_table(200, 4);
	bad_flush();
	delivery_expect_tag(200, 4, user);
}

/* A processor judges it by the width that it can do (Intel SDM vol. 3, 4.5.2 on LA57), whatever CR4 says: 57 bits at most. */
static void load_nowhere(const char *what, const uint8_t *code)
{
	static struct table_pointer pointer;
	struct outcome o;

	pointer = (struct table_pointer){ 0x2ff, NOT_CANONICAL_57 };
	o = delivery_run(code, false, (uint64_t)&pointer, 0);
	bad_case("%s of an address that is not canonical", what);
	bad_expect_trap(&o, VECTOR_PROTECTION, 0);
}

void bad_idt(void)
{
	for (unsigned int user = 0; user < 2; user++) {
		idt_split(user);
		idt_of_ring3(user);
		idt_in_table(user);
	}
	load_nowhere("LIDT", bad_lidt);
	load_nowhere("LGDT", bad_lgdt);
}

/* ---- GDT. */

#define FAR_SELECTOR 0x40u /* a code segment behind the others */
#define CODE_NOT_ACCESSED 0x00af9a000000ffffull

static void gdt_split(bool user)
{
	struct outcome o;

	delivery_map(0, OPEN);
	delivery_map(1, NOT_MAPPED);
	delivery_own_idt(0);
	bad_gate_selector(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, FAR_SELECTOR);
	bad_place_gdt(WINDOW(1) - FAR_SELECTOR, bad_page(1) - FAR_SELECTOR, FAR_SELECTOR + 7);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("the handler's code segment not mapped, %s", delivery_ring(user));
	delivery_expect_fault(&o, 0, WINDOW(1), bad_invalid);
}

static void gdt_split_iret(void)
{
	struct outcome o;

	delivery_map(0, OPEN);
	delivery_map(1, NOT_MAPPED);
	bad_place_gdt(WINDOW(1) - USER_DATA_SELECTOR / 8 * 8, bad_page(1) - USER_DATA_SELECTOR / 8 * 8, FAR_SELECTOR + 7);
	o = delivery_run(bad_read, true, NOTHING, 0);
	bad_case("the code segment IRETQ returns to not mapped");
	if (bad_expect_fault(&o, 0, WINDOW(1) + 8))
		bad_expect_value("CS", o.frame.cs, KERNEL_CODE);
}

static void gdt_in_table(bool user)
{
	volatile uint64_t *table = page_pointer(bad_page(TABLE));
	struct outcome o;

	delivery_live_table(200, 5);
	bad_case("GDT in a table, %s", delivery_ring(user));
	delivery_expect_tag(200, 5, user);
	bad_place_gdt(WINDOW(TABLE), bad_page(TABLE), FAR_SELECTOR + 7);
	table[FAR_SELECTOR / 8] = CODE_NOT_ACCESSED;
	delivery_own_idt(0);
	bad_gate_selector(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, FAR_SELECTOR);
	o = delivery_run(bad_invalid, user, 0, 0);
	if (bad_expect_trap(&o, VECTOR_INVALID_OPCODE, 0)) {
		bad_expect_value("code segment afterwards", table[FAR_SELECTOR / 8], CODE_NOT_ACCESSED | 1ull << 40);
		delivery_live_table(200, 6);
		delivery_expect_tag(200, 6, user);
	}
}

void bad_gdt(void)
{
	for (unsigned int user = 0; user < 2; user++) {
		gdt_split(user);
		gdt_in_table(user);
	}
	gdt_split_iret();
}

/* ---- TSS. Offsets in it: RSP0 4, IST 1 36, IST 2 44. */

static void tss_split(void)
{
	struct outcome o;

	delivery_map(0, NOT_MAPPED);
	delivery_map(1, OPEN);
	bad_place_tss(WINDOW(1) - 16, bad_page(1) - 16, TSS_SIZE - 1);
	o = delivery_run(bad_invalid, true, 0, 0);
	bad_case("RSP0 not mapped");
	delivery_expect_double(&o, WINDOW(1) - 12);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	bad_place_tss(WINDOW(1) - 8, bad_page(1) - 8, TSS_SIZE - 1);
	o = delivery_run(bad_invalid, true, 0, 0);
	bad_case("half of RSP0 not mapped, #PF has a stack");
	delivery_expect_fault(&o, 0, WINDOW(1) - 4, bad_invalid);
	bad_map(WINDOW(0), bad_page(0), OPEN | PTE_RESERVED);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	bad_place_tss(WINDOW(1) - 16, bad_page(1) - 16, TSS_SIZE - 1);
	bad_flush();
	o = delivery_run(bad_invalid, true, 0, 0);
	bad_case("RSP0 under a reserved bit, #PF has a stack");
	delivery_expect_fault(&o, FAULT_PRESENT | FAULT_RESERVED, WINDOW(1) - 12, bad_invalid);
}

static void tss_without_ist(bool user)
{
	struct outcome o;

	delivery_map(0, OPEN);
	delivery_map(1, NOT_MAPPED);
	delivery_own_idt(VECTOR_INVALID_OPCODE);
	bad_place_tss(WINDOW(1) - 44, bad_page(1) - 44, TSS_SIZE - 1);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("IST 2 not mapped, %s", delivery_ring(user));
	delivery_expect_fault(&o, 0, WINDOW(1), bad_invalid);
	delivery_own_idt(VECTOR_INVALID_OPCODE);
	delivery_map(1, OPEN);
	bad_place_tss(WINDOW(1), bad_page(1), 43);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("IST 2 beyond the TSS, %s", delivery_ring(user));
	bad_expect_trap(&o, VECTOR_INVALID_TSS, TSS_SELECTOR | 1);
}

static void tss_in_table(void)
{
	struct outcome o;

	delivery_live_table(200, 7);
	bad_case("TSS in a table");
	delivery_expect_tag(200, 7, true);
	delivery_map(4, OPEN);
	for (unsigned int i = 0; i < 3; i++) {
		bad_place_tss(WINDOW(TABLE) + 64, bad_page(TABLE) + 64, TSS_SIZE - 1);
		bad_tss_stack(bad_page(TABLE) + 64, 0, WINDOW(5) - i * 256);
		o = delivery_run(bad_invalid, true, 0, 0);
		bad_expect_trap(&o, VECTOR_INVALID_OPCODE, 0);
		bad_expect_value("SS on the stack that it names",
				 *(uint64_t *)page_pointer(bad_page(5) - i * 256 - 8), USER_DATA_SELECTOR);
	}
	delivery_live_table(200, 8);
	bad_flush();
	delivery_expect_tag(200, 8, true);
}

void bad_tss(void)
{
	tss_split();
	tss_without_ist(false);
	tss_without_ist(true);
	tss_in_table();
}
