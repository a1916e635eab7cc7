/*
 * A guest (shadow_guest.h) with what a kernel gives its CPU: GDT, LDT, IDT, TSS and stacks, all good and all marked accessed
 * and dirty, for tests that break one thing at a time. Every area ends where nothing is mapped.
 */
#pragma once

#include "tests/unit/shadow_guest.h"

#define KERNEL_AREA 0xffff888000000000ull /* every area has 16 pages of addresses, two of them mapped */
#define KERNEL_GDT (KERNEL_AREA + 0x00000)
#define KERNEL_LDT (KERNEL_AREA + 0x10000)
#define KERNEL_IDT (KERNEL_AREA + 0x20000)
#define KERNEL_TSS (KERNEL_AREA + 0x30000)
#define KERNEL_STACK (KERNEL_AREA + 0x40000)
#define KERNEL_IST (KERNEL_AREA + 0x50000)
#define KERNEL_DATA (KERNEL_AREA + 0x60000)
#define USER_STACK 0x10000ull
#define USER_DATA 0x20000ull
#define USER_CODE 0x30000ull
#define KERNEL_MAPPED 0x2000u /* bytes of an area that are mapped */
#define KERNEL_UNMAPPED (KERNEL_AREA + 0xf0000)
#define NOT_CANONICAL 0x0000900000000000ull

/* Selectors of the GDT; FREE is for the test. TSS and LDT take two slots each. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_USER_CODE32 0x18
#define SEL_USER_DATA 0x20
#define SEL_USER_CODE 0x28
#define SEL_TSS 0x30
#define SEL_LDT 0x40
#define SEL_FREE 0x50
#define SEL_LIMIT 0x77 /* of the GDT */

#define KERNEL_HANDLER(vector) (0xffffffff81000000ull + (vector) * 16ull)

/* Fills in tables and registers, CPL 0, RSP in the middle of the kernel's stack, RIP at USER_CODE. */
void kernel_create(struct guest *g);

/* As code of this ring runs: CS, SS and RSP. */
void kernel_enter(struct guest *g, unsigned int cpl);

/* Bytes that the guest sees at a mapped gva. */
void kernel_poke(struct guest *g, uint64_t gva, const void *bytes, unsigned int size);
uint64_t kernel_peek(struct guest *g, uint64_t gva);
void kernel_poke64(struct guest *g, uint64_t gva, uint64_t value);

/* attributes: as in struct cpu_segment. */
void kernel_descriptor(struct guest *g, uint16_t selector, uint32_t base, uint32_t limit, unsigned int attributes);

struct kernel_gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t ist, type, dpl;
	bool absent;
};

void kernel_gate(struct guest *g, unsigned int vector, struct kernel_gate gate);

/* Clears bits of the page's entry. */
void kernel_protect(struct guest *g, uint64_t gva, uint64_t clear);

/* Vector of the handler at RIP, -1 = none of them. */
int kernel_vector(const struct guest *g);
