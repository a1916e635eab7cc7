/*
 * The tiny guest of the probes: where everything lies in its memory, for the code (probe_guest.S) and for the side that
 * builds it (probe.c). All of the 2 MiB that its tables map is open to both rings, so code is the same in both.
 */
#pragma once

#define PROBE_RAM_SIZE 0x20000
#define PROBE_PML4 0x1000
#define PROBE_PDPT 0x2000
#define PROBE_PD 0x3000
#define PROBE_PT 0x4000
#define PROBE_GDT 0x5000
#define PROBE_IDT 0x6000
#define PROBE_TSS 0x7000
#define PROBE_STACK 0xa000	/* top of ring 0's */
#define PROBE_USER_STACK 0xc000 /* top of ring 3's */
#define PROBE_FRAME_A 0xc000	/* two frames, and the page that shows one of them */
#define PROBE_FRAME_B 0xd000
#define PROBE_PAGE 0x1f0000
#define PROBE_CODE 0x10000

#define PROBE_KERNEL_CS 0x08
#define PROBE_KERNEL_DS 0x10
#define PROBE_USER_DS 0x1b
#define PROBE_USER_CS 0x23
#define PROBE_TR 0x28

#define PROBE_STUB_SIZE 8 /* bytes a vector's stub takes */
#define PROBE_REPORT 0x500 /* port of ring 0's reports; ports below 256 are vectors */
#define PROBE_WORK_LOOPS 2000

#ifndef __ASSEMBLER__

/* The code, to be copied to PROBE_CODE. It begins with the stubs of the 256 vectors. */
extern const unsigned char probe_guest[], probe_guest_end[];

/* Where it can be started at ring 0. probe_enter goes on at RBX in ring 3, after each event anew. */
extern const unsigned char probe_enter[], probe_sse[], probe_exits[], probe_work[];

/* What can be run in ring 3; probe_lstar is where SYSCALL leads. */
extern const unsigned char probe_pushf[], probe_syscall[], probe_lstar[], probe_int4[], probe_int80[], probe_load[],
	probe_rdtsc[], probe_cpuid[], probe_event[], probe_far_return[];

#endif
