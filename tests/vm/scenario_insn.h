/*
 * The instructions of a scenario, and its map of memory: what lies where below SCENARIO_MAPPED.
 */
#pragma once

#include "tests/vm/scenario.h"

#define SCENARIO_PML4 0x1000ull
#define SCENARIO_TABLE 0x5000ull /* page table of it all */
#define SCENARIO_GDT 0x10000ull
#define SCENARIO_LDT 0x12000ull
#define SCENARIO_IDT 0x14000ull
#define SCENARIO_TSS 0x16000ull
#define SCENARIO_KERNEL_STACK 0x18000ull
#define SCENARIO_IST_STACK 0x1c000ull
#define SCENARIO_USER_STACK 0x20000ull /* from here on pages are user pages ... */
#define SCENARIO_USER_CODE 0x24000ull
#define SCENARIO_USER_DATA 0x28000ull
#define SCENARIO_USER_END 0x2c000ull /* ... to here */
#define SCENARIO_HANDLERS 0x2c000ull
#define SCENARIO_KERNEL_CODE 0x2d000ull
#define SCENARIO_KERNEL_DATA 0x30000ull
#define SCENARIO_EDGE_FRAME 0x34000ull
#define SCENARIO_MAPPED 0x38000ull
#define SCENARIO_DEVICE 0x40000ull
#define SCENARIO_UNMAPPED 0x48000ull
#define SCENARIO_SELECTORS 40u /* of the GDT */

/* Writes the page tables, and then takes something from one page that matters, or from a table above all of them. */
void scenario_map(struct scenario *s);
void scenario_damage(struct scenario *s);

/* Puts one or two instructions at RIP, with registers and memory that suit them, and the end behind them. */
void scenario_put_insns(struct scenario *s);

bool scenario_chance(struct scenario *s, unsigned int percent);
uint16_t scenario_selector(struct scenario *s);

/* The selector, or 0 for a null one that is to be avoided. */
uint16_t scenario_null(const struct scenario *s, uint16_t selector);
uint64_t scenario_stack(struct scenario *s, uint64_t area);
uint64_t scenario_target(struct scenario *s, unsigned int cpl);
void scenario_put64(struct scenario *s, uint64_t gpa, uint64_t value);
void scenario_put(struct scenario *s, uint64_t gva, const void *bytes, unsigned int size);
void scenario_put_end(struct scenario *s, uint64_t gva);

/* `count` words of `size` bytes at RSP. */
void scenario_put_words(struct scenario *s, const uint64_t *words, unsigned int count, unsigned int size);

/* The stack, and registers, of what returns. */
void scenario_iretq(struct scenario *s);
void scenario_iretd(struct scenario *s);
void scenario_retfq(struct scenario *s);
void scenario_retfq_16(struct scenario *s);
void scenario_retfd(struct scenario *s);
void scenario_sysret(struct scenario *s);
