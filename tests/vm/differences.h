/*
 * Where hosts are known to do otherwise than a CPU does, as the manuals have it, each with the reason. What can be masked is
 * masked, what a scenario can do without it does without, and the rest is left out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What of a comparison is left out; combine. */
enum leave_out {
	OUT_EXT = 1,		/* EXT of error codes */
	OUT_SS_OF_IST = 2,	/* SS after an IST within a ring */
	OUT_NESTED = 4,		/* all, if an exception was raised in the delivery of an event */
	OUT_INNER_SEGMENTS = 8, /* what becomes of data segments that the outer ring may not have */
	OUT_RESERVED_DR = 16,	/* reserved bits of DR6 and DR7 */
	OUT_VIF_VIP = 32,
	OUT_CR2_OFFSET = 64,	/* which word of a frame was missing */
	OUT_FIRST_PAGE = 8192,	/* an operand's first page if the second faults: marks, what was stored */
	OUT_BITMAP_FAULT = 16384, /* page faults of the TSS */
	OUT_TR = 32768,		/* TR after an LTR that faulted */
	OUT_SHUTDOWN = 65536,	/* that a triple fault comes to an end */
	OUT_NULL_SEGMENT = 128, /* attributes of null segments */
	OUT_IDT_ERROR = 256,	/* error codes that name a vector */
	OUT_STACK_FAULT = 512,	/* stack operands that are not canonical */
	OUT_TARGET = 1024,	/* returns to a RIP that is not canonical */
	OUT_ODD_GATE = 4096,	/* a fault in the delivery through a gate to another selector than the kernel's */
	OUT_GDT_MARK = 131072,	/* whether a system descriptor that faults was looked at */
	OUT_INJECTED = 2048,	/* a fault in the delivery of an exception that KVM raises */
};

struct difference {
	const char *host; /* host_mmu's module, "lab" for the lab's emulated CPU, "lab npt=0" for that alone, "" for all */
	unsigned int avoid, out;
	unsigned int tags;  /* scenarios with all of these are left out ... */
	bool only_if_fault; /* ... if an exception is delivered */
	const char *why;
};

extern const struct difference differences[];
extern const size_t difference_count;
