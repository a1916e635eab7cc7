/* hostile: the processor's own state. */
#include <stddef.h>

#include "guest/images/hostile.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/probe.h"
#include "guest/lib/string.h"

#define EXIT_SURVIVED 1 /* what should have been the end was not */
#define GATE_SIZE 16
#define GATE_IST 4 /* offset of the byte in a gate */

struct table_pointer {
	uint16_t limit;
	const void *base;
} __attribute__((packed));

extern const uint8_t idt[VECTOR_COUNT * GATE_SIZE];

static void load_idt(const void *base, uint16_t limit)
{
	struct table_pointer pointer = { limit, base };

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

static void load_gdt(const void *base, uint16_t limit)
{
	struct table_pointer pointer = { limit, base };

	__asm__ volatile("lgdt %0" : : "m"(pointer));
}

/* A page fault: gva 0 is never mapped. */
static int fault(void)
{
	uint64_t nowhere = 0;

	__asm__ volatile("movb (%0), %%al" : : "r"(nowhere) : "rax", "memory");
	return EXIT_SURVIVED;
}

int hostile_triple_fault(const char *args)
{
	load_idt(idt, 0);
	return fault();
}

int hostile_idt_nowhere(const char *args)
{
	load_idt((const void *)0x7000000000, VECTOR_COUNT * GATE_SIZE - 1);
	return fault();
}

int hostile_gdt_garbage(const char *args)
{
	static uint8_t garbage[64];

	memset(garbage, 0xff, sizeof(garbage));
	load_gdt(garbage, sizeof(garbage) - 1);
	return fault();
}

int hostile_endless_cli(const char *args)
{
	cpu_cli();
	for (;;)
		;
}

int hostile_hlt_forever(const char *args)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static __attribute__((noinline)) uint64_t recurse(uint64_t depth)
{
	volatile uint64_t room[64];

	room[0] = depth;
	if (room[0] == UINT64_MAX)
		return 0; /* never; compilers know an endless recursion when they see one */
	room[1] = recurse(depth + 1);
	return room[0] + room[1];
}

int hostile_stack_overflow(const char *args)
{
	return (int)recurse(0);
}

int hostile_stack_overflow_triple(const char *args)
{
	static uint8_t copy[sizeof(idt)];

	memcpy(copy, idt, sizeof(idt));
	copy[VECTOR_DOUBLE_FAULT * GATE_SIZE + GATE_IST] = 0;
	load_idt(copy, sizeof(copy) - 1);
	return (int)recurse(0);
}

int hostile_sse_ring0(const char *args)
{
	/* Arithmetic: KVM's instruction emulator knows the moves, but not this. */
	__asm__ volatile("paddd %xmm0, %xmm1");
	kprintf("SSE in ring 0 works here\n");
	return 0;
}

int hostile_msr(const char *args)
{
	static const uint32_t unknown[] = { 0x00c0ffee, 0x7fffffff, 0xdeadbeef };
	uint64_t value;

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		kprintf("msr %08x: read %s", unknown[i], probe_rdmsr(unknown[i], &value) ? "done" : "refused");
		kprintf(", write %s\n", probe_wrmsr(unknown[i], ~0ull) ? "done" : "refused");
	}
	return 0;
}

static void again(struct trap_frame *frame)
{
}

int hostile_div_loop(const char *args)
{
	uint64_t zero = 0;

	trap_set(VECTOR_DIVIDE, again);
	__asm__ volatile("divq %0" : : "r"(zero) : "rax", "rdx", "cc");
	return EXIT_SURVIVED;
}
