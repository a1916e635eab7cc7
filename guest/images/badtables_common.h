/*
 * badtables: what the cases of event delivery have in common. Descriptor tables and stacks lie in a window of supervisor
 * pages, page n of it at WINDOW(n); which of those are there is up to the case.
 */
#pragma once

#include "guest/images/badtables.h"

#define WINDOW(n) (BAD_WINDOW + (n) * PAGE_SIZE)
#define OPEN (PTE_P | PTE_W | PTE_A)
#define NOT_MAPPED 0ull
#define NOT_CANONICAL 0x0000800000001000ull
#define NOT_CANONICAL_57 0x0100000000001000ull
#define NOTHING (BAD_TEST | 0x123)
#define IST_PAGE 12u /* stack of gates with IST 2: its end is WINDOW(IST_PAGE + 1) */
#define IST_TOP WINDOW(IST_PAGE + 1)
#define IDT_PAGE 14u
#define TABLE 2u /* that is in use while something else lies in it */

const char *delivery_ring(unsigned int user);
/* Page n of the window is bad_page(n), or not mapped (flags 0). */
void delivery_map(unsigned int n, uint64_t flags);
/* `code` with that rdi, and rsp if it is not 0; the descriptor tables are boot.S's again after it. */
struct outcome delivery_run(const uint8_t *code, bool user, uint64_t rdi, uint64_t rsp);
/* A copy of the IDT that may be changed, out of harm's way; vector `ist` of it (0: none) has a stack of its own. */
void delivery_own_idt(unsigned int ist);
/* A double fault that leaves this CR2. */
void delivery_expect_double(const struct outcome *o, uint64_t cr2);
/* A page fault on the way of an event: it is reported as one of the instruction that was interrupted. */
void delivery_expect_fault(const struct outcome *o, uint64_t error, uint64_t cr2, const uint8_t *code);
/* Page TABLE is a table in use, whose entry `entry` leads to tag page n; it is in the window as well. */
void delivery_live_table(unsigned int entry, unsigned int n);
/* gpa of tag page n. */
uint64_t delivery_tag_page(unsigned int n);
/* What is read through that entry. */
void delivery_expect_tag(unsigned int entry, unsigned int n, bool user);
