/* badtables: stacks that are not there for an event, lie in a table in use, or lead from one event to the next. */
#include <stddef.h>

#include "guest/images/badtables_common.h"
#include "guest/images/badtables_descriptors.h"

#define MONITOR_GVA 0xffff800000005000ull

extern const uint8_t bad_read[], bad_invalid[], bad_handler_invalid[];

/* ---- Stacks: RSP0 for events of ring 3, RSP itself for those of ring 0. */

static struct outcome event_on(uint64_t rsp, bool user)
{
	if (user)
		bad_tss_stack((uint64_t)bad_boot_tss, 0, rsp);
	return delivery_run(bad_invalid, user, 0, user ? 0 : rsp);
}

static void bad_stack_at(const char *what, uint64_t rsp, uint32_t error, bool user)
{
	struct outcome o = event_on(rsp, user);

	bad_case("%s, %s", what, delivery_ring(user));
	delivery_expect_double(&o, (rsp & ~15ull) - 8);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	o = event_on(rsp, user);
	bad_case("%s, #PF has one, %s", what, delivery_ring(user));
	delivery_expect_fault(&o, error, (rsp & ~15ull) - 8, bad_invalid);
	delivery_own_idt(VECTOR_INVALID_OPCODE);
	bad_tss_stack((uint64_t)bad_boot_tss, 2, rsp);
	o = delivery_run(bad_invalid, user, 0, 0);
	bad_case("%s, that of an IST, %s", what, delivery_ring(user));
	delivery_expect_fault(&o, error, (rsp & ~15ull) - 8, bad_invalid);
}

static void stack_not_canonical(bool user)
{
	struct outcome o;

	delivery_own_idt(VECTOR_STACK_FAULT);
	o = event_on(NOT_CANONICAL, user);
	bad_case("stack not canonical, #SS has one, %s", delivery_ring(user));
	bad_expect_trap(&o, VECTOR_STACK_FAULT, 1);
	o = event_on(NOT_CANONICAL, user);
	bad_case("stack not canonical, %s", delivery_ring(user));
	bad_expect_trap(&o, VECTOR_DOUBLE_FAULT, 0);
}

static void stack_in_pages(bool user)
{
	struct outcome o;

	delivery_map(0, NOT_MAPPED);
	bad_stack_at("stack not mapped", WINDOW(1) - 5, FAULT_WRITE, user);
	delivery_map(0, PTE_P | PTE_A);
	bad_stack_at("stack read-only", WINDOW(1), FAULT_WRITE | FAULT_PRESENT, user);
	bad_map(WINDOW(0), bad_page(0), OPEN | PTE_RESERVED);
	bad_flush();
	bad_stack_at("stack under a reserved bit", WINDOW(1), FAULT_WRITE | FAULT_PRESENT | FAULT_RESERVED, user);
	bad_stack_at("stack in the monitor's slot", MONITOR_GVA, FAULT_WRITE, user);
	stack_not_canonical(user);
	delivery_map(0, NOT_MAPPED);
	delivery_map(1, OPEN);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	o = event_on(WINDOW(1) + 16, user);
	bad_case("stack that ends too early, #PF has one, %s", delivery_ring(user));
	delivery_expect_fault(&o, FAULT_WRITE, WINDOW(1) - 8, bad_invalid);
}

/* Entries that become the frame: its RSP, and r8, as entry.S pushes it. */
#define FRAME_TOP 400u
#define RSP_ENTRY (FRAME_TOP - 2)
#define R8_ENTRY (FRAME_TOP - 15)

/* What the frame leaves are entries in use: they lead to the pages whose entries were in RSP and r8. */
static void stack_in_table(bool user)
{
	bad_case("stack in a table, %s", delivery_ring(user));
	for (unsigned int i = 0; i < 4; i++) {
		struct trap_frame frame = bad_frame(bad_invalid, user);
		struct outcome o;

		delivery_live_table(RSP_ENTRY, 1);
		delivery_live_table(R8_ENTRY, 2);
		delivery_live_table(0, i + 3);
		delivery_live_table(1, i + 4);
		delivery_expect_tag(RSP_ENTRY, 1, user);
		delivery_expect_tag(R8_ENTRY, 2, user);
		delivery_own_idt(VECTOR_INVALID_OPCODE);
		bad_tss_stack((uint64_t)bad_boot_tss, 0, WINDOW(TABLE) + FRAME_TOP * 8);
		bad_tss_stack((uint64_t)bad_boot_tss, 2, WINDOW(TABLE) + FRAME_TOP * 8 + i);
		if (user)
			bad_gate_ist(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, 0);
		frame.rsp = delivery_tag_page(i + 3) | PTE_OPEN;
		frame.r8 = delivery_tag_page(i + 4) | PTE_OPEN;
		o = bad_run(&frame);
		bad_restore_descriptors();
		bad_expect_trap(&o, VECTOR_INVALID_OPCODE, 0);
		bad_expect_value("RSP in it", o.frame.rsp, frame.rsp);
		bad_flush();
		delivery_expect_tag(RSP_ENTRY, i + 3, user);
		delivery_expect_tag(R8_ENTRY, i + 4, user);
	}
}

void bad_stack(void)
{
	for (unsigned int user = 0; user < 2; user++) {
		stack_in_pages(user);
		stack_in_table(user);
	}
}

/* ---- Events that ask for the next. */

#define ROUNDS 20u

static unsigned int rounds;

static bool fault_again(struct trap_frame *frame)
{
	if (frame->vector == VECTOR_PAGE_FAULT && ++rounds < ROUNDS)
		(void)*(volatile uint8_t *)NOTHING;
	return true;
}

/* Every double fault begins at the top of the same stack. */
static bool double_again(struct trap_frame *frame)
{
	if (frame->vector == VECTOR_DOUBLE_FAULT && ++rounds < ROUNDS)
		__asm__ volatile("movq %0, %%rsp\n ud2" : : "r"(WINDOW(1)) : "memory");
	return true;
}

void bad_loop(void)
{
	struct outcome o;

	delivery_own_idt(VECTOR_PAGE_FAULT);
	bad_set_filter(fault_again);
	rounds = 0;
	o = delivery_run(bad_read, false, NOTHING, 0);
	bad_case("page fault in the handler of page faults, on the same stack");
	bad_expect_fault(&o, 0, NOTHING);
	bad_expect_value("rounds", rounds, ROUNDS);
	delivery_map(0, NOT_MAPPED);
	delivery_map(1, OPEN);
	bad_set_filter(double_again);
	rounds = 0;
	o = delivery_run(bad_invalid, false, 0, WINDOW(1));
	bad_case("double fault in the handler of double faults");
	delivery_expect_double(&o, WINDOW(1) - 8);
	bad_expect_value("rounds", rounds, ROUNDS);
	bad_set_filter(NULL);
	delivery_own_idt(0);
	bad_gate_handler(bad_page(IDT_PAGE), VECTOR_PAGE_FAULT, NOTHING);
	o = delivery_run(bad_read, false, NOTHING, WINDOW(2));
	bad_case("handler of #PF not mapped, until the stack ends");
	delivery_expect_double(&o, WINDOW(1) - 8);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	bad_gate_handler(bad_page(IDT_PAGE), VECTOR_INVALID_OPCODE, (uint64_t)bad_handler_invalid);
	o = delivery_run(bad_invalid, false, 0, WINDOW(2));
	bad_case("handler of #UD is #UD, until the stack ends");
	bad_expect_fault(&o, FAULT_WRITE, WINDOW(1) - 8);
	delivery_own_idt(VECTOR_PAGE_FAULT);
	bad_tss_stack((uint64_t)bad_boot_tss, 2, WINDOW(1));
	o = delivery_run(bad_read, true, NOTHING, 0);
	bad_case("#PF whose own stack is not mapped");
	delivery_expect_double(&o, WINDOW(1) - 8);
}
