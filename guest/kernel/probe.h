/* Things of ring 0 that may fault, and say so instead of ending in a panic. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/trap.h"

/* Reads the byte at `gva`; false if that faulted. */
static inline bool probe_read(uint64_t gva, uint8_t *value)
{
	uint8_t good = 1;

	__asm__ volatile("1: movb (%[gva]), %[value]\n jmp 3f\n 2: movb $0, %[good]\n 3:\n" FIXUP("1b", "2b")
			 : [good] "+q"(good), [value] "=q"(*value)
			 : [gva] "r"(gva)
			 : "memory");
	return good;
}

static inline bool probe_rdmsr(uint32_t msr, uint64_t *value)
{
	uint32_t low = 0;
	uint32_t high = 0;
	uint8_t good = 1;

	__asm__ volatile("1: rdmsr\n jmp 3f\n 2: movb $0, %[good]\n 3:\n" FIXUP("1b", "2b")
			 : [good] "+q"(good), "+a"(low), "+d"(high)
			 : "c"(msr));
	*value = (uint64_t)high << 32 | low;
	return good;
}

static inline bool probe_wrmsr(uint32_t msr, uint64_t value)
{
	uint8_t good = 1;

	__asm__ volatile("1: wrmsr\n jmp 3f\n 2: movb $0, %[good]\n 3:\n" FIXUP("1b", "2b")
			 : [good] "+q"(good)
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
	return good;
}
