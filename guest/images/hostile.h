/* The misdeeds of the image hostile, in three files. Each takes the rest of the command line. */
#pragma once

#include <stdint.h>

struct misdeed {
	const char *name;
	const char *what;
	int (*commit)(const char *args); /* the exit code, if it comes back */
};

/* hostile_cpu.c: the processor's own state. */
int hostile_triple_fault(const char *args);
int hostile_endless_cli(const char *args);
int hostile_stack_overflow(const char *args);
int hostile_stack_overflow_triple(const char *args);
int hostile_idt_nowhere(const char *args);
int hostile_gdt_garbage(const char *args);
int hostile_sse_ring0(const char *args);
int hostile_msr(const char *args);
int hostile_div_loop(const char *args);
int hostile_hlt_forever(const char *args);

/* hostile_memory.c: addresses and page tables. */
int hostile_out_of_range(const char *args);
int hostile_jump_device(const char *args);
int hostile_jump_nowhere(const char *args);
int hostile_corrupt_tables(const char *args);
int hostile_cr3_nowhere(const char *args);

/* hostile_device.c: ports. */
int hostile_bad_port(const char *args);
int hostile_interrupt_storm(const char *args);
int hostile_console_flood(const char *args);
int hostile_pic_garbage(const char *args);
int hostile_pit_garbage(const char *args);
int hostile_uart_garbage(const char *args);
int hostile_rtc_garbage(const char *args);

/* The number in `args`, or `otherwise` if there is none; bad arguments end the guest. */
uint64_t hostile_number(const char *args, uint64_t otherwise);
