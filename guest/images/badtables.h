/*
 * badtables: page tables, descriptor tables and stacks as no guest should have them. Each case does one such thing, looks
 * at what a processor would show of it, and says so in a line; see badtables.c for the list. The image keeps to what the
 * manuals say (AMD APM vol. 2, chapters 5 and 8; Intel SDM vol. 3, chapters 4 and 6); where a host shows something else,
 * that is the business of whoever reads the lines.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/trap.h"

#define VECTOR_INVALID_TSS 10
#define VECTOR_STACK_FAULT 12

/* Kinds of access, combined. */
#define ACCESS_WRITE 1u
#define ACCESS_FETCH 2u
#define ACCESS_USER 4u /* from ring 3 */

/* The bits an entry needs for any access by either ring. */
#define PTE_OPEN (PTE_P | PTE_W | PTE_U | PTE_A)
#define PTE_RESERVED (1ull << 51)
#define TABLE_LEVELS 4

/* Addresses of badtables: PML4 slot 0 is the kernel, 1 code for ring 3, 2 free for cases, 3 windows and data. */
#define SLOT(level, index) ((uint64_t)(index) << (12 + 9 * ((level) - 1)))
#define BAD_TEXT SLOT(4, 1)
#define BAD_TEST SLOT(4, 2)
#define BAD_WINDOW SLOT(4, 3)

/* Pages that cases use, in a row, the first at a multiple of 2 MiB; all zero when a case starts. */
#define BAD_PAGES 64u
uint64_t bad_page(unsigned int n);

/* ---- badtables_try.c: making an access or an event happen. */

#define BAD_NOTHING 0xffu /* vector of an outcome: there was no exception */

struct outcome {
	uint8_t vector;
	uint64_t error, cr2;
	uint64_t rax;		 /* at the end, or at the exception */
	struct trap_frame frame; /* of an exception */
};

/* Makes the tables and goes on with `run`, on a stack of its own. */
noreturn void bad_start(void (*run)(void));
/* Brings back all that a case may have changed: root, descriptor tables, the pages. */
void bad_reset(void);
/* RSP0 as it should be. */
uint64_t bad_ring3_stack(void);

/* A page table walk's root, all of which a case may change but slots 0 and 1. */
uint64_t bad_root(void);
/* The entry for gva at `level` in the tables from bad_root() on, all above it made if need be. */
volatile uint64_t *bad_entry(uint64_t gva, int level);
/* Maps the page at gva. */
void bad_map(uint64_t gva, uint64_t gpa, uint64_t flags);
void bad_flush(void);

/* A frame that starts `code` (of badtables_code.S) in ring 3 or ring 0, for bad_run(). */
struct trap_frame bad_frame(const uint8_t *code, bool user);
/* Goes there, until it is done or something happens. */
struct outcome bad_run(const struct trap_frame *frame);
/* One byte at gva read, written (`value`) or executed. */
struct outcome bad_access(unsigned int access, uint64_t gva, uint8_t value);
/* Called for each exception in bad_run() before it ends that; false: the frame is to be returned to. NULL: no such. */
void bad_set_filter(bool (*filter)(struct trap_frame *frame));

/* What the tables say, by a plain walk. */
struct verdict {
	bool fault;
	uint32_t error;
	uint64_t gpa;
};
struct verdict bad_walk(unsigned int access, uint64_t gva);
bool bad_is_ram(uint64_t gpa);
/* A gpa above all RAM and outside the hole for devices. */
uint64_t bad_nowhere(void);

/* ---- badtables_tell.c: saying what came of it. */

/* Names the case from now on; printf-like. */
void bad_case(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The line of a case that should end without an exception, or with this one. cr2 only for page faults. */
bool bad_expect_fine(const struct outcome *o);
bool bad_expect_fault(const struct outcome *o, uint64_t error, uint64_t cr2);
bool bad_expect_trap(const struct outcome *o, uint8_t vector, uint64_t error);
/* The line of a case of many steps: `what` with a number each. */
void bad_expect_value(const char *what, uint64_t got, uint64_t want);
/* Error code of a page fault by this access. */
uint32_t bad_error(unsigned int access, uint32_t why);
/* "read by ring 0" and so on. */
const char *bad_access_name(unsigned int access);
/* The line at the end; the exit code. */
int bad_sum(void);

/* ---- The cases, by concept. */

/* badtables_tables.c: what entries and CR3 say. */
void bad_outside(void);
void bad_self(void);
void bad_monitor(void);
void bad_reserved(void);
void bad_cr3(void);
void bad_device(void);
/* badtables_stores.c: stores to tables. */
void bad_straddle(void);
void bad_random(void);
/* badtables_pages.c: tables that are data and code, too. */
void bad_reuse(void);
void bad_execute(void);
/* badtables_delivery.c: where events meet bad tables. */
void bad_idt(void);
void bad_gdt(void);
void bad_tss(void);
/* badtables_stack.c: where they meet bad stacks, and one another. */
void bad_stack(void);
void bad_loop(void);

/* badtables_end.c: what ends the guest, one for each name. False: there is no such name. */
bool bad_end(const char *name);
void bad_end_list(void);

/* Seed of what is random. */
extern uint64_t bad_seed;
