/*
 * Delivery of events: what the handler finds, every way in which a delivery can fail, and what becomes of two events that
 * meet. The rules are written down here once more, from the manuals.
 */
#include "shadow/deliver.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/shadow_kernel.h"
#include "tests/vm/suite.h"

#define UD 6
#define RFLAGS_START (RFLAGS_ONE | RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_CF | RFLAGS_AC)

static struct guest guest;

static void start(unsigned int cpl)
{
	kernel_create(&guest);
	kernel_enter(&guest, cpl);
	guest.cs.rflags = RFLAGS_START;
}

static struct trap event_of(uint8_t vector)
{
	bool has_error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;

	return (struct trap){.vector = vector, .has_error = has_error, .error = has_error ? 0x1230 : 0, .cr2 = 0xabc123};
}

static enum deliver_result deliver_vector(uint8_t vector, enum deliver_source source, uint8_t length)
{
	struct trap event = event_of(vector);

	if (source != DELIVER_FAULT)
		event = (struct trap){.vector = vector};
	return deliver(&guest.gmem, &event, source, length);
}

static uint64_t frame(unsigned int word)
{
	return kernel_peek(&guest, guest.cs.gpr[CPU_RSP] + word * 8);
}

static void check_frame(unsigned int skip, const struct cpu_state *before, uint64_t rip, bool rf)
{
	ck_assert_uint_eq(frame(skip), rip);
	ck_assert_uint_eq(frame(skip + 1), before->segment[CPU_CS].selector);
	ck_assert_uint_eq(frame(skip + 2), before->rflags | (rf ? RFLAGS_RF : 0));
	ck_assert_uint_eq(frame(skip + 3), before->gpr[CPU_RSP]);
	ck_assert_uint_eq(frame(skip + 4), before->segment[CPU_SS].selector);
}

START_TEST(fault_of_ring_3)
{
	struct cpu_state before;

	start(3);
	before = guest.cs;
	ck_assert_int_eq(deliver_vector(14, DELIVER_FAULT, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), 14);
	ck_assert_uint_eq(guest.cs.gpr[CPU_RSP], KERNEL_STACK + KERNEL_MAPPED - 48);
	ck_assert_uint_eq(frame(0), 0x1230);
	check_frame(1, &before, before.rip, true);
	ck_assert_uint_eq(guest.cs.cr2, 0xabc123);
	ck_assert_uint_eq(guest.cs.segment[CPU_CS].selector, SEL_CODE);
	ck_assert_uint_eq(guest.cs.segment[CPU_CS].attributes, 0xa9b);
	ck_assert_uint_eq(guest.cs.segment[CPU_SS].selector, 0);
	ck_assert_uint_eq(gmem_cpl(&guest.cs), 0);
	ck_assert_uint_eq(guest.cs.rflags, RFLAGS_ONE | RFLAGS_CF | RFLAGS_AC);
	guest_destroy(&guest);
}
END_TEST

/* RSP is aligned, SS stays, a trap gate leaves IF; the shadow of STI ends. */
START_TEST(interrupt_of_ring_0)
{
	struct cpu_state before;

	start(0);
	kernel_gate(&guest, 0x80, (struct kernel_gate){.offset = KERNEL_HANDLER(0x80), .selector = SEL_CODE, .type = 0xf});
	guest.cs.gpr[CPU_RSP] = KERNEL_STACK + 0x123f;
	guest.cs.interrupt_shadow = true;
	before = guest.cs;
	ck_assert_int_eq(deliver_vector(0x80, DELIVER_INTERRUPT, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), 0x80);
	ck_assert_uint_eq(guest.cs.gpr[CPU_RSP], KERNEL_STACK + 0x1230 - 40);
	check_frame(0, &before, before.rip, false);
	ck_assert_uint_eq(guest.cs.segment[CPU_SS].selector, SEL_DATA);
	ck_assert_uint_eq(guest.cs.rflags, RFLAGS_ONE | RFLAGS_IF | RFLAGS_CF | RFLAGS_AC);
	ck_assert(!guest.cs.interrupt_shadow);
	guest_destroy(&guest);
}
END_TEST

START_TEST(software_interrupt)
{
	struct cpu_state before;

	start(3);
	before = guest.cs;
	ck_assert_int_eq(deliver_vector(14, DELIVER_SOFTWARE, 2), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), 14);
	check_frame(0, &before, before.rip + 2, false);
	ck_assert_uint_eq(guest.cs.cr2, before.cr2);
	guest_destroy(&guest);
}
END_TEST

/* RSP0 is the last thing that this TSS has. */
START_TEST(short_tss)
{
	start(3);
	guest.cs.segment[CPU_TR].limit = 4 + 7;
	ck_assert_int_eq(deliver_vector(UD, DELIVER_FAULT, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), UD);
	guest_destroy(&guest);
}
END_TEST

/* A debug exception comes after its instruction: no RF. */
START_TEST(rf_of_what_is_not_restarted)
{
	struct cpu_state before;

	start(0);
	before = guest.cs;
	ck_assert_int_eq(deliver_vector(1, DELIVER_FAULT, 0), DELIVER_DONE);
	check_frame(0, &before, before.rip, false);
	guest_destroy(&guest);
}
END_TEST

START_TEST(interrupt_stack)
{
	for (unsigned int cpl = 0; cpl <= 3; cpl += 3)
		for (uint8_t ist = 1; ist <= 7; ist++) {
			start(cpl);
			kernel_gate(&guest, UD, (struct kernel_gate){.offset = KERNEL_HANDLER(UD), .selector = SEL_CODE,
								     .type = 0xe, .ist = ist});
			ck_assert_int_eq(deliver_vector(UD, DELIVER_FAULT, 0), DELIVER_DONE);
			ck_assert_uint_eq(guest.cs.gpr[CPU_RSP], KERNEL_IST + ist * 0x400 - 40);
			ck_assert_uint_eq(guest.cs.segment[CPU_SS].selector, cpl ? 0 : SEL_DATA);
			guest_destroy(&guest);
		}
}
END_TEST

/* The handler's ring stays the program's, and so does its stack, written with the program's rights. */
START_TEST(conforming_handler)
{
	start(3);
	kernel_descriptor(&guest, SEL_CODE, 0, 0xfffff, 0xa9e);
	ck_assert_int_eq(deliver_vector(UD, DELIVER_FAULT, 0), DELIVER_DONE);
	ck_assert_uint_eq(gmem_cpl(&guest.cs), 3);
	ck_assert_uint_eq(guest.cs.segment[CPU_CS].selector, SEL_CODE | 3);
	ck_assert_uint_eq(guest.cs.segment[CPU_SS].selector, SEL_USER_DATA | 3);
	ck_assert_uint_eq(guest.cs.gpr[CPU_RSP], USER_STACK + 0x1800 - 40);
	/* And is accessed now. */
	ck_assert_uint_eq(guest.cs.segment[CPU_CS].attributes, 0xa9f);
	ck_assert_uint_eq(kernel_peek(&guest, KERNEL_GDT + SEL_CODE) >> 40 & 0xff, 0x9f);
	guest_destroy(&guest);
}
END_TEST

static void gate(struct kernel_gate change)
{
	if (!change.offset)
		change.offset = KERNEL_HANDLER(UD);
	if (!change.type)
		change.type = 0xe;
	change.dpl = 3;
	kernel_gate(&guest, UD, change);
}

/* Of ring 2, which is not enough for ring 3. */
static void inner_gate(bool absent)
{
	kernel_gate(&guest, UD, (struct kernel_gate){.offset = KERNEL_HANDLER(UD), .selector = SEL_CODE, .type = 0xe, .dpl = 2,
						     .absent = absent});
}

static void type_of_gate(void) { gate((struct kernel_gate){.selector = SEL_CODE, .type = 0xc}); }
static void not_a_gate(void) { gate((struct kernel_gate){.selector = SEL_CODE, .type = 0x1e}); }
static void absent_gate(void) { gate((struct kernel_gate){.selector = SEL_CODE, .absent = true}); }
static void kernel_only(void) { inner_gate(false); }
static void kernel_only_and_absent(void) { inner_gate(true); }
static void null_code(void) { gate((struct kernel_gate){.selector = 3}); }
static void code_beyond(void) { gate((struct kernel_gate){.selector = SEL_LIMIT + 1}); }
static void code_of_ldt(void) { gate((struct kernel_gate){.selector = 0x84}); }
static void data_as_code(void) { gate((struct kernel_gate){.selector = SEL_DATA}); }
static void system_as_code(void) { gate((struct kernel_gate){.selector = SEL_TSS}); }
static void outer_code(void) { gate((struct kernel_gate){.selector = SEL_USER_CODE | 3}); }
static void odd_offset(void) { gate((struct kernel_gate){.selector = SEL_CODE, .offset = NOT_CANONICAL}); }

static void free_code(unsigned int attributes)
{
	kernel_descriptor(&guest, SEL_FREE, 0, 0xfffff, attributes);
	gate((struct kernel_gate){.selector = SEL_FREE | 1});
}

static void code32(void) { free_code(0xc9b); }
static void code_long_and_32(void) { free_code(0xe9b); }
static void absent_code(void) { free_code(0xa1b); }
static void absent_code32(void) { free_code(0xc1b); }

static void limit_of_tss(void) { guest.cs.segment[CPU_TR].limit = 4 + 6; }
static void odd_stack(void) { kernel_poke64(&guest, KERNEL_TSS + 4, NOT_CANONICAL); }
static void edge_stack(void) { kernel_poke64(&guest, KERNEL_TSS + 4, 0x800000000000); }
static void no_stack(void) { kernel_poke64(&guest, KERNEL_TSS + 4, KERNEL_UNMAPPED + 0x888); }
static void full_stack(void) { kernel_poke64(&guest, KERNEL_TSS + 4, KERNEL_IST + 0x20); }
static void read_only_stack(void) { kernel_protect(&guest, KERNEL_STACK + 0x1000, PTE_W); }
static void no_gdt(void) { kernel_protect(&guest, KERNEL_GDT, PTE_P); }
static void no_tss(void) { guest.cs.segment[CPU_TR].base = KERNEL_TSS + KERNEL_MAPPED - 4; }

static void read_only_gdt(void)
{
	kernel_descriptor(&guest, SEL_CODE, 0, 0xfffff, 0xa9a);
	kernel_protect(&guest, KERNEL_GDT, PTE_W);
}

#define SELF (UD * 8 + 2)

/* From ring 3, where #UD (a benign exception) and INT 6 meet one obstacle. error: without EXT. */
static const struct obstacle {
	void (*put)(void);
	int vector; /* that is delivered instead for #UD, -1 = none */
	int software; /* the same for INT 6 */
	uint32_t error;
	uint64_t cr2; /* of a page fault; its error code has no EXT */
} obstacles[] = {
	{type_of_gate, 13, 13, SELF, 0},
	{not_a_gate, 13, 13, SELF, 0},
	{absent_gate, 11, 11, SELF, 0},
	{kernel_only, -1, 13, SELF, 0},
	{kernel_only_and_absent, 11, 13, SELF, 0},
	{null_code, 13, 13, 0, 0},
	{code_beyond, 13, 13, SEL_LIMIT + 1, 0},
	{code_of_ldt, 13, 13, 0x84, 0},
	{data_as_code, 13, 13, SEL_DATA, 0},
	{system_as_code, 13, 13, SEL_TSS, 0},
	{outer_code, -1, -1, 0, 0},
	{odd_offset, 13, 13, 0, 0},
	{code32, 13, 13, SEL_FREE, 0},
	{code_long_and_32, 13, 13, SEL_FREE, 0},
	{absent_code, 11, 11, SEL_FREE, 0},
	{absent_code32, 13, 13, SEL_FREE, 0},
};

/* The same where the second event needs another way: its gate has an IST. */
static const struct obstacle stack_obstacles[] = {
	{limit_of_tss, 10, 10, SEL_TSS, 0},
	{odd_stack, 12, 12, 0, 0},
	{edge_stack, 12, 12, 0, 0},
	{no_stack, 14, 14, 2, KERNEL_UNMAPPED + 0x880 - 8},
	{full_stack, 14, 14, 2, KERNEL_IST - 8},
	{read_only_stack, 14, 14, 3, KERNEL_STACK + KERNEL_MAPPED - 8},
	{read_only_gdt, 14, 14, 3, KERNEL_GDT + SEL_CODE + 4},
	{no_gdt, -2, -2, 0, KERNEL_GDT + SEL_CODE}, /* which nothing survives */
	{no_tss, -2, -2, 0, KERNEL_TSS + KERNEL_MAPPED},
};

static void use_own_stacks(void)
{
	static const unsigned int vectors[] = {10, 12, 14};

	/* And a code descriptor that needs no mark. */
	kernel_descriptor(&guest, SEL_FREE, 0, 0xfffff, 0xa9b);
	for (unsigned int i = 0; i < 3; i++)
		kernel_gate(&guest, vectors[i], (struct kernel_gate){.offset = KERNEL_HANDLER(vectors[i]),
								     .selector = SEL_FREE, .type = 0xe, .ist = 7});
}

static void check_obstacle(const struct obstacle *o, enum deliver_source source, bool stacks)
{
	int want = source == DELIVER_FAULT ? o->vector : o->software;
	bool page_fault = want == 14;
	enum deliver_result r;
	uint64_t rip;

	start(3);
	if (stacks)
		use_own_stacks();
	o->put();
	/* IST 7 lies below it. */
	if (guest.cs.segment[CPU_TR].limit < 0x60)
		kernel_gate(&guest, 10, (struct kernel_gate){.offset = KERNEL_HANDLER(10), .selector = SEL_CODE, .type = 0xe});
	rip = guest.cs.rip;
	r = deliver_vector(UD, source, 2 * (source == DELIVER_SOFTWARE));
	if (want == -2 || guest.cs.segment[CPU_TR].limit < 0x60) {
		ck_assert_int_eq(r, DELIVER_SHUTDOWN);
		guest_destroy(&guest);
		return;
	}
	ck_assert_int_eq(r, DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), want == -1 ? UD : want);
	if (want != -1) {
		ck_assert_uint_eq(frame(0), o->error | (source == DELIVER_FAULT && !page_fault ? 1 : 0));
		ck_assert_uint_eq(frame(1), rip);
	}
	if (page_fault)
		ck_assert_uint_eq(guest.cs.cr2, o->cr2);
	guest_destroy(&guest);
}

START_TEST(obstacles_of_gates)
{
	check_obstacle(&obstacles[_i], DELIVER_FAULT, false);
	check_obstacle(&obstacles[_i], DELIVER_SOFTWARE, false);
}
END_TEST

START_TEST(obstacles_of_stacks)
{
	check_obstacle(&stack_obstacles[_i], DELIVER_FAULT, true);
	check_obstacle(&stack_obstacles[_i], DELIVER_SOFTWARE, true);
}
END_TEST

#define HIGH 200 /* a vector that the IDT loses while it keeps those of exceptions */

static void move_idt(uint64_t base)
{
	guest.cs.idt.base = base;
	for (unsigned int v = 8; v <= 14; v++)
		kernel_gate(&guest, v, (struct kernel_gate){.offset = KERNEL_HANDLER(v), .selector = SEL_CODE, .type = 0xe});
}

static void check_high(int vector, uint32_t error)
{
	ck_assert_int_eq(deliver_vector(HIGH, DELIVER_INTERRUPT, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), vector);
	ck_assert_uint_eq(frame(0), error);
}

START_TEST(gate_out_of_reach)
{
	start(0);
	guest.cs.idt.limit = HIGH * 16 + 14;
	check_high(13, HIGH * 8 + 3);
	guest_destroy(&guest);
	/* Its second half on a page that is missing. */
	start(0);
	move_idt(KERNEL_IDT + KERNEL_MAPPED - HIGH * 16 - 8);
	check_high(14, 0);
	ck_assert_uint_eq(guest.cs.cr2, KERNEL_IDT + KERNEL_MAPPED);
	guest_destroy(&guest);
	start(0);
	guest_map(&guest, 0x7ffffffff000, 0x3ff000, PTE_P | PTE_W);
	move_idt(0x800000000000 - HIGH * 16);
	check_high(13, 1);
	guest_destroy(&guest);
}
END_TEST

/* What fits above the missing page has been pushed; the page that is there is dirty, the other has no marks. */
START_TEST(stack_that_ends_within_the_frame)
{
	start(0);
	guest.cs.gpr[CPU_RSP] = KERNEL_IST + 0x10;
	kernel_gate(&guest, 14, (struct kernel_gate){.offset = KERNEL_HANDLER(14), .selector = SEL_CODE, .type = 0xe, .ist = 7});
	kernel_protect(&guest, KERNEL_IST, PTE_A | PTE_D);
	ck_assert_int_eq(deliver_vector(UD, DELIVER_FAULT, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), 14);
	ck_assert_uint_eq(guest.cs.cr2, KERNEL_IST - 8);
	ck_assert_uint_eq(kernel_peek(&guest, KERNEL_IST + 8), SEL_DATA);
	ck_assert_uint_eq(kernel_peek(&guest, KERNEL_IST), KERNEL_IST + 0x10);
	ck_assert_uint_eq(*guest_entry(&guest, KERNEL_IST, 1) & (PTE_A | PTE_D), PTE_A | PTE_D);
	ck_assert_uint_eq(frame(4), KERNEL_IST + 0x10);
	guest_destroy(&guest);
}
END_TEST

/* Frames at every distance from a border between two pages that do not lie one behind the other in RAM. */
START_TEST(stack_across_pages)
{
	struct cpu_state before;

	for (uint64_t above = 0; above <= 48; above += 8) {
		start(0);
		guest.cs.gpr[CPU_RSP] = KERNEL_STACK + 0x1000 + above;
		before = guest.cs;
		ck_assert_int_eq(deliver_vector(13, DELIVER_FAULT, 0), DELIVER_DONE);
		ck_assert_uint_eq(guest.cs.gpr[CPU_RSP], KERNEL_STACK + 0x1000 + (above & ~15ull) - 48);
		check_frame(1, &before, before.rip, true);
		guest_destroy(&guest);
	}
}
END_TEST

/* How the delivery of one event is made to raise another. */
static void make_second(uint8_t first, int second)
{
	struct kernel_gate gate_of_first = {.offset = KERNEL_HANDLER(first), .selector = SEL_CODE, .type = 0xe, .ist = 1, .dpl = 3};

	if (second == 10)
		guest.cs.segment[CPU_TR].limit = 36 + 6;
	if (second == 11)
		gate_of_first.absent = true;
	if (second == 12)
		kernel_poke64(&guest, KERNEL_TSS + 36, NOT_CANONICAL);
	if (second == 13)
		gate_of_first.type = 5;
	if (second == 14)
		kernel_poke64(&guest, KERNEL_TSS + 36, KERNEL_UNMAPPED + 0x100);
	kernel_gate(&guest, first, gate_of_first);
}

static bool in(int vector, const int *set, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (set[i] == vector)
			return true;
	return false;
}

/* APM vol. 2, table 8-5. */
static bool is_double_fault(int first, int second)
{
	static const int contributory[] = {0, 10, 11, 12, 13};

	if (in(first, contributory, 5))
		return in(second, contributory, 5);
	return first == 14 && (second == 14 || in(second, contributory, 5));
}

static void check_pair(uint8_t first, int second, enum deliver_source source)
{
	bool twice = source == DELIVER_FAULT && is_double_fault(first, second);

	/* A second event of the same vector would meet the same obstacle. */
	if (!twice && first == second)
		return;
	start(0);
	make_second(first, second);
	ck_assert_int_eq(deliver_vector(first, source, 0), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), twice ? 8 : second);
	if (twice)
		ck_assert_uint_eq(frame(0), 0);
	/* CR2 is that of the last page fault, delivered or not. */
	if (second == 14)
		ck_assert_uint_eq(guest.cs.cr2, KERNEL_UNMAPPED + 0xf8);
	guest_destroy(&guest);
}

START_TEST(two_events)
{
	for (int vector = 0; vector <= 32; vector++)
		for (int second = 10; second <= 14; second++) {
			if (vector == 8)
				continue;
			check_pair((uint8_t)vector, second, DELIVER_FAULT);
			check_pair((uint8_t)vector, second, DELIVER_INTERRUPT);
			check_pair((uint8_t)vector, second, DELIVER_SOFTWARE);
		}
}
END_TEST

START_TEST(three_events)
{
	for (int second = 10; second <= 14; second++) {
		start(0);
		make_second(8, second);
		ck_assert_int_eq(deliver_vector(8, DELIVER_FAULT, 0), DELIVER_SHUTDOWN);
		guest_destroy(&guest);
		start(0);
		make_second(13, 11);
		make_second(8, second);
		ck_assert_int_eq(deliver_vector(13, DELIVER_FAULT, 0), DELIVER_SHUTDOWN);
		guest_destroy(&guest);
	}
	/* INT 8 is no double fault. */
	start(0);
	make_second(8, 13);
	ck_assert_int_eq(deliver_vector(8, DELIVER_SOFTWARE, 2), DELIVER_DONE);
	ck_assert_int_eq(kernel_vector(&guest), 13);
	ck_assert_uint_eq(frame(0), 8 * 8 + 2);
	guest_destroy(&guest);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_deliver");

	tcase_add_test(tcase, fault_of_ring_3);
	tcase_add_test(tcase, interrupt_of_ring_0);
	tcase_add_test(tcase, software_interrupt);
	tcase_add_test(tcase, short_tss);
	tcase_add_test(tcase, rf_of_what_is_not_restarted);
	tcase_add_test(tcase, interrupt_stack);
	tcase_add_test(tcase, conforming_handler);
	tcase_add_loop_test(tcase, obstacles_of_gates, 0, sizeof(obstacles) / sizeof(*obstacles));
	tcase_add_loop_test(tcase, obstacles_of_stacks, 0, sizeof(stack_obstacles) / sizeof(*stack_obstacles));
	tcase_add_test(tcase, gate_out_of_reach);
	tcase_add_test(tcase, stack_that_ends_within_the_frame);
	tcase_add_test(tcase, stack_across_pages);
	tcase_add_test(tcase, two_events);
	tcase_add_test(tcase, three_events);
	return run_case("shadow_deliver", tcase);
}
