/* hostile NAME [NUMBER]: a guest that does what no guest should; `hostile list` names what it can do. */
#include "guest/images/hostile.h"

#include <stddef.h>

#include "guest/kernel/console.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

static const struct misdeed misdeeds[] = {
	{ "out-of-range", "reads a gpa that is neither RAM nor device", hostile_out_of_range },
	{ "bad-port", "[STEP] uses every (STEP-th) port that is not needed; exit 0", hostile_bad_port },
	{ "triple-fault", "faults without an IDT", hostile_triple_fault },
	{ "endless-cli", "loops with interrupts off", hostile_endless_cli },
	{ "stack-overflow", "recurses into the guard page; the double fault is reported; exit 99",
	  hostile_stack_overflow },
	{ "stack-overflow-triple", "the same without a stack for the double fault", hostile_stack_overflow_triple },
	{ "jump-device", "executes device memory", hostile_jump_device },
	{ "jump-nowhere", "executes a gpa that is neither RAM nor device", hostile_jump_nowhere },
	{ "corrupt-tables", "fills its own page tables with garbage and uses them", hostile_corrupt_tables },
	{ "cr3-nowhere", "puts its page tables far outside RAM", hostile_cr3_nowhere },
	{ "idt-nowhere", "faults with an IDT where nothing is mapped", hostile_idt_nowhere },
	{ "gdt-garbage", "faults with a GDT full of ones", hostile_gdt_garbage },
	{ "interrupt-storm", "[MS] takes timer interrupts at the fastest rate; exit 0", hostile_interrupt_storm },
	{ "console-flood", "[BYTES] prints that much at once; exit 0", hostile_console_flood },
	{ "sse-ring0", "one SSE instruction in ring 0; exit 0 where the host can do it", hostile_sse_ring0 },
	{ "msr", "reads and writes unknown MSRs; exit 0", hostile_msr },
	{ "pic-garbage", "[COUNT] random writes to the 8259 pair; exit 0", hostile_pic_garbage },
	{ "pit-garbage", "[COUNT] random writes to the 8254; exit 0", hostile_pit_garbage },
	{ "uart-garbage", "[COUNT] random writes to the 16550; exit 0", hostile_uart_garbage },
	{ "rtc-garbage", "[COUNT] random writes to the real-time clock; exit 0", hostile_rtc_garbage },
	{ "div-loop", "divides by zero for ever", hostile_div_loop },
	{ "hlt-forever", "halts with interrupts off", hostile_hlt_forever },
};

#define MISDEEDS (sizeof(misdeeds) / sizeof(misdeeds[0]))

static int list(void)
{
	for (size_t i = 0; i < MISDEEDS; i++)
		kprintf("%-22s %s\n", misdeeds[i].name, misdeeds[i].what);
	return 0;
}

/* What follows `name` in `args`; NULL if it does not begin with that word. */
static const char *after_word(const char *args, const char *name)
{
	size_t length = strlen(name);

	if (strlen(args) < length || memcmp(args, name, length) != 0)
		return NULL;
	if (args[length] == '\0')
		return args + length;
	return args[length] == ' ' ? args + length + 1 : NULL;
}

uint64_t hostile_number(const char *args, uint64_t otherwise)
{
	uint64_t value = otherwise;

	if (args[0] != '\0' && !parse_number(args, &value))
		machine_usage("hostile NAME [NUMBER]; hostile list names them");
	return value;
}

int image_main(const char *args)
{
	const char *rest;

	if (strcmp(args, "list") == 0)
		return list();
	for (size_t i = 0; i < MISDEEDS; i++) {
		rest = after_word(args, misdeeds[i].name);
		if (rest != NULL)
			return misdeeds[i].commit(rest);
	}
	machine_usage("hostile NAME [NUMBER]; hostile list names them");
}
