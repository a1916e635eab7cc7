/*
 * Random but plausible guests of one page of code: tables, stacks and descriptors, mostly good and here and there damaged,
 * and an instruction or two whose effects lead, by whatever exception, to a store to a device page. That store ends
 * it: the same bytes stand behind the instruction, at every handler and at every target.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/random.h"
#include "vmm/cpu_state.h"

#define SCENARIO_RAM (1ull << 20)
#define SCENARIO_DEVICE_GPA 0xfed00000ull

/* What a scenario contains that a host may be known to do otherwise; combine. */
enum scenario_tag {
	TAG_ODD_MSR = 1,	    /* an MSR value that its rules forbid */
	TAG_SYSTEM = 2,		    /* LLDT, LTR */
	TAG_SOFTWARE_INTERRUPT = 4, /* INT n, INT3 */
	TAG_STRING_IN = 8,
	TAG_TABLE = 16,		    /* LGDT, LIDT, SGDT, SIDT */
	TAG_FRAME = 32,		    /* IRET, far RET */
	TAG_SEGMENT = 64,	    /* a segment register is loaded */
	TAG_RING3 = 128,	    /* it begins in ring 3 */
	TAG_CR3 = 256,		    /* CR3 may lead anywhere */
	TAG_CR1 = 512,
	TAG_SYSRET32 = 1024,
	TAG_PAT = 2048,		    /* the MSR */
	TAG_UMIP = 8192,	    /* SLDT, STR, SMSW */
	TAG_CR = 16384,		    /* MOV to CR0 or CR4 */
	TAG_FRAME32 = 32768,	    /* IRET, far RET of 32-bit words */
	TAG_SYSENTER = 65536,	    /* MSRs of SYSENTER that hold an address */
	TAG_NEEDS = 131072,	    /* it needs its registers to be what they are */
	TAG_INT_N = 4096,	    /* INT n of another vector than 3 and 4 */
	TAG_DR7 = 262144,	    /* MOV to DR7 */
};

/* What a host is known not to do right and no mask can express; combine. */
enum scenario_avoid {
	AVOID_SYSTEM_FLAGS = 1,	   /* AC anywhere; IOPL and NT in ring 3 */
	AVOID_ODD_HANDLER = 2,	   /* gates that lead to another selector than the kernel's */
	AVOID_GENERAL_DETECT = 4,  /* DR7.GD */
	AVOID_IO_BITMAP = 8,	   /* ring 3 without the right to all ports */
	AVOID_NO_SYSCALL = 16,	   /* EFER.SCE = 0, odd STAR */
	AVOID_ODD_STACK = 64,	   /* stacks at or beyond the edge of the address space */
	AVOID_ODD_TSS_STACK = 128, /* those of the TSS */
	AVOID_NULL_TR = 256,
	AVOID_NULL_SS = 512,	   /* at the start, for IRET and far RET of 32-bit words */
	AVOID_ODD_SYSTEM = 2048,   /* 16-bit TSS; upper halves with a type, or of a base that is not canonical */
	AVOID_LONG_AND_DB = 8192,  /* code descriptors with both */
	AVOID_ODD_RETURN = 16384,  /* IRET and far RET to other segments than the usual */
	AVOID_ODD_OFFSET = 32768,  /* gates to an address that is not canonical */
	AVOID_POP_CROSSING = 65536, /* of a segment: a word in two pages */
	AVOID_NULL_RPL = 4096,	   /* null selectors other than 0 */
	AVOID_EDGE_OPERAND = 1024, /* operands at the edge of the address space */
	AVOID_SPLIT_DESCRIPTOR = 131072, /* of the GDT, on two pages */
	AVOID_BITMAP_END = 262144,	 /* ports whose bits are in the last byte that the TSS has */
	AVOID_UNMARKED = 32,	   /* data descriptors that are not accessed yet, for IRET and far RET */
};

struct scenario {
	unsigned int avoid; /* the caller's */
	struct cpu_state cs;
	uint8_t *ram; /* SCENARIO_RAM bytes, the maker's */
	int interrupt; /* vector that the interrupt controller delivers first; -1 = none */
	unsigned int tags;
	const char *name; /* of the first instruction */
	uint32_t cpu; /* ABI_CPU_* of the CPU model */
	struct random random;
};

/* Fills in everything from s->random; s->ram, s->cpu and s->cs.xsave are the caller's. */
void scenario_make(struct scenario *s);

/* What a device answers to the nth read of a scenario. */
uint64_t scenario_device_value(unsigned int n, unsigned int size);
