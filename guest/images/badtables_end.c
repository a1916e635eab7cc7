/* badtables: what a processor does not survive, or never comes back from. Each of these is a guest of its own. */
#include <stddef.h>

#include "guest/abi.h"
#include "guest/images/badtables.h"
#include "guest/images/badtables_descriptors.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define WINDOW(n) (BAD_WINDOW + (n) * PAGE_SIZE)
#define OPEN (PTE_P | PTE_W | PTE_A)
#define DEVICE_PAGE 20u /* of the window: device memory */
#define NOWHERE_PAGE 21u /* a gpa above all RAM */
#define IDT_PAGE 14u
#define MONITOR_GPA 0xff00000000ull
#define MONITOR_GVA 0xffff800000000000ull
#define MONITOR_IDT (MONITOR_GVA + 0x2000)
#define NOTHING (BAD_TEST | 0x123)
#define NOT_CANONICAL 0x0000800000001000ull

extern const uint8_t bad_read[], bad_invalid[], bad_handler_invalid[];

static void go(const uint8_t *code, bool user, uint64_t rdi)
{
	struct trap_frame frame = bad_frame(code, user);

	frame.rdi = rdi;
	bad_run(&frame);
}

static void use_idt(uint64_t gva)
{
	bad_load_idt(gva, VECTOR_COUNT * GATE_SIZE - 1);
	go(bad_invalid, true, 0);
}

static void idt_not_mapped(void)
{
	use_idt(WINDOW(0));
}

static void idt_of_monitor(void)
{
	use_idt(MONITOR_IDT);
}

static void idt_short(void)
{
	bad_load_idt((uint64_t)bad_page(0), VECTOR_INVALID_OPCODE * GATE_SIZE - 1);
	go(bad_invalid, false, 0);
}

static void idt_device(void)
{
	use_idt(WINDOW(DEVICE_PAGE));
}

static void idt_nowhere(void)
{
	use_idt(WINDOW(NOWHERE_PAGE));
}

static void gdt_not_mapped(void)
{
	const struct table_pointer pointer = { 0x3f, WINDOW(0) };

	__asm__ volatile("lgdt %0" : : "m"(pointer));
	go(bad_invalid, false, 0);
}

static void tss_not_mapped(void)
{
	bad_place_tss(WINDOW(0), bad_page(0), TSS_SIZE - 1);
	bad_map(WINDOW(0), 0, 0);
	bad_flush();
	go(bad_invalid, true, 0);
}

/* An event whose stack is bad, with a bad one for the double fault as well. */
static void double_fault_on(uint64_t rsp)
{
	bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(0) + 64);
	bad_tss_stack((uint64_t)bad_boot_tss, 1, rsp);
	go(bad_invalid, true, 0);
}

static void df_stack_not_mapped(void)
{
	double_fault_on(WINDOW(0) + 128);
}

static void df_stack_read_only(void)
{
	bad_map(WINDOW(1), bad_page(1), PTE_P | PTE_A);
	double_fault_on(WINDOW(2));
}

static void df_stack_of_monitor(void)
{
	double_fault_on(MONITOR_GVA + 0x5000);
}

static void df_stack_not_canonical(void)
{
	double_fault_on(NOT_CANONICAL);
}

static void df_gate(void (*change)(uint64_t gpa, unsigned int vector))
{
	bad_map(WINDOW(IDT_PAGE), bad_page(IDT_PAGE), OPEN);
	bad_place_idt(WINDOW(IDT_PAGE), bad_page(IDT_PAGE));
	change(bad_page(IDT_PAGE), VECTOR_DOUBLE_FAULT);
	bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(0) + 64);
	go(bad_invalid, true, 0);
}

static void df_gate_absent(void)
{
	df_gate(bad_gate_absent);
}

static void no_stack(uint64_t gpa, unsigned int vector)
{
	bad_gate_ist(gpa, vector, 0);
}

static void df_without_stack(void)
{
	df_gate(no_stack);
}

static void df_gate_not_mapped(void)
{
	bad_map(WINDOW(1), bad_page(1), OPEN);
	bad_place_idt(WINDOW(1) - 9 * GATE_SIZE, bad_page(1) - 9 * GATE_SIZE);
	bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(0) + 64);
	go(bad_invalid, true, 0);
}

static void stack_device(void)
{
	bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(DEVICE_PAGE) + 256);
	go(bad_invalid, true, 0);
}

static void stack_nowhere(void)
{
	bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(NOWHERE_PAGE) + 256);
	go(bad_invalid, true, 0);
}

static void cr3_device(void)
{
	write_cr3(ABI_MMIO_SCRATCH);
}

static void cr3_monitor(void)
{
	write_cr3(MONITOR_GPA);
}

static void cr3_last(void)
{
	write_cr3(0xfffffff000);
}

static void cr3_garbage(void)
{
	uint64_t state = bad_seed;
	uint64_t *table = page_pointer(bad_page(0));

	for (unsigned int i = 0; i < TABLE_ENTRIES; i++)
		table[i] = random_next(&state) | PTE_RESERVED;
	write_cr3(bad_page(0));
}

/* Through a mapping of itself. */
static void root_cleared(void)
{
	bad_map(WINDOW(0), bad_root(), OPEN);
	memset((void *)WINDOW(0), 0, PAGE_SIZE);
	bad_flush();
}

/* The tables that the kernel runs on, by its own stores. */
static void kernel_cleared(void)
{
	volatile uint64_t *pdpt = page_pointer(kernel_pml4[0] & PTE_FRAME);
	volatile uint64_t *pd = page_pointer(pdpt[0] & PTE_FRAME);

	pd[0] = 0;
	bad_flush();
}

static void leaf_monitor(unsigned int access)
{
	bad_map(WINDOW(0), MONITOR_GPA + 0x5000, PTE_OPEN);
	bad_flush();
	bad_access(access, WINDOW(0), 1);
}

static void leaf_monitor_read(void)
{
	leaf_monitor(ACCESS_USER);
}

static void leaf_monitor_write(void)
{
	leaf_monitor(ACCESS_WRITE);
}

static void leaf_monitor_execute(void)
{
	leaf_monitor(ACCESS_FETCH);
}

/* No stack grows here: each page fault starts at the top of the same one, and nothing is ever wrong with it. */
static void loop_page_fault(void)
{
	bad_map(WINDOW(IDT_PAGE), bad_page(IDT_PAGE), OPEN);
	bad_place_idt(WINDOW(IDT_PAGE), bad_page(IDT_PAGE));
	bad_gate_ist(bad_page(IDT_PAGE), VECTOR_PAGE_FAULT, 1);
	bad_gate_handler(bad_page(IDT_PAGE), VECTOR_PAGE_FAULT, NOTHING);
	go(bad_read, true, NOTHING);
}

static void loop_invalid(void)
{
	bad_map(WINDOW(IDT_PAGE), bad_page(IDT_PAGE), OPEN);
	bad_place_idt(WINDOW(IDT_PAGE), bad_page(IDT_PAGE));
	bad_gate_ist(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, 1);
	bad_gate_handler(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, (uint64_t)bad_handler_invalid);
	go(bad_invalid, false, 0);
}

/* The stack of every page fault is in a table, whose entry for the page that is missing it clears each time. */
static void loop_stack_in_table(void)
{
	bad_entry(NOTHING, 1);
	bad_map(WINDOW(0), *bad_entry(NOTHING, 2) & PTE_FRAME, OPEN);
	bad_map(WINDOW(IDT_PAGE), bad_page(IDT_PAGE), OPEN);
	bad_place_idt(WINDOW(IDT_PAGE), bad_page(IDT_PAGE));
	bad_tss_stack((uint64_t)bad_boot_tss, 1, WINDOW(1));
	bad_gate_ist(bad_page(IDT_PAGE), VECTOR_PAGE_FAULT, 1);
	bad_gate_handler(bad_page(IDT_PAGE), VECTOR_PAGE_FAULT, NOTHING);
	go(bad_read, true, NOTHING);
}

static const struct {
	const char *name;
	void (*commit)(void);
} ends[] = {
	{ "idt-not-mapped", idt_not_mapped },
	{ "idt-of-monitor", idt_of_monitor },
	{ "idt-short", idt_short },
	{ "idt-device", idt_device },
	{ "idt-nowhere", idt_nowhere },
	{ "gdt-not-mapped", gdt_not_mapped },
	{ "tss-not-mapped", tss_not_mapped },
	{ "df-stack-not-mapped", df_stack_not_mapped },
	{ "df-stack-read-only", df_stack_read_only },
	{ "df-stack-of-monitor", df_stack_of_monitor },
	{ "df-stack-not-canonical", df_stack_not_canonical },
	{ "df-gate-absent", df_gate_absent },
	{ "df-gate-not-mapped", df_gate_not_mapped },
	{ "df-without-stack", df_without_stack },
	{ "stack-device", stack_device },
	{ "stack-nowhere", stack_nowhere },
	{ "cr3-device", cr3_device },
	{ "cr3-monitor", cr3_monitor },
	{ "cr3-last", cr3_last },
	{ "cr3-garbage", cr3_garbage },
	{ "root-cleared", root_cleared },
	{ "kernel-cleared", kernel_cleared },
	{ "leaf-monitor-read", leaf_monitor_read },
	{ "leaf-monitor-write", leaf_monitor_write },
	{ "leaf-monitor-execute", leaf_monitor_execute },
	{ "loop-page-fault", loop_page_fault },
	{ "loop-invalid", loop_invalid },
	{ "loop-stack-in-table", loop_stack_in_table },
};

#define ENDS (sizeof(ends) / sizeof(ends[0]))

bool bad_end(const char *name)
{
	for (size_t i = 0; i < ENDS; i++) {
		if (strcmp(name, ends[i].name) != 0)
			continue;
		bad_entry(WINDOW(0), 1);
		bad_map(WINDOW(DEVICE_PAGE), ABI_MMIO_SCRATCH, PTE_KERNEL_DEVICE);
		bad_map(WINDOW(NOWHERE_PAGE), bad_nowhere(), PTE_KERNEL_DEVICE);
		bad_flush();
		ends[i].commit();
		return true;
	}
	return false;
}

void bad_end_list(void)
{
	for (size_t i = 0; i < ENDS; i++)
		kprintf("%s\n", ends[i].name);
}
