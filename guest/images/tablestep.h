/* The image tablestep: stores to page tables in use, by instructions that move much or move oddly. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/kernel/paging.h"

#define TABLESTEP_BYTES 512u /* stored by FXSAVE; the 32 words from XMM_OFFSET on are XMM0 to XMM15 */
#define XMM_OFFSET 160u
#define XMM_WORDS 32u

/* One of the stores. */
struct store {
	const char *name;
	const uint8_t *user;
	uint64_t (*kernel)(uint64_t gva, const void *image);
	uint16_t size;		     /* bytes stored that follow from the image */
	uint16_t odd_from, odd_size; /* but not these of them */
	uint16_t most;		     /* bytes that may be stored, with those nobody can tell */
};

#define STORES 7
extern const struct store stores[STORES];

enum { STORE_FXSAVE, STORE_MOVNTQ }; /* places in stores[] */

/* Where things are in the address space of the test: PML4 slot 2; windows are pages of ring 3, one behind the other. */
#define SLOT(level, index) ((uint64_t)(index) << (12 + 9 * ((level) - 1)))
#define BASE SLOT(4, 2)
#define CODE_GVA BASE
#define IMAGE_GVA (BASE | SLOT(1, 1))
#define WINDOW(n) (BASE | SLOT(1, 2 + (n)))
enum { WINDOW_A, WINDOW_B, WINDOW_ROOT, WINDOW_PDPT, WINDOW_PD, WINDOW_PLAIN, WINDOWS };
/* What entry i of the tables A and B maps. */
#define A_GVA(i) (BASE | SLOT(3, 1) | SLOT(2, i))
#define B_GVA(i) (BASE | SLOT(3, 2) | SLOT(2, i))
#define SELF_SLOT 3
/* The root, and table A, through a root that is its own entry SELF_SLOT. */
#define SELF_ROOT (SLOT(4, 3) | SLOT(3, 3) | SLOT(2, 3) | SLOT(1, 3))
#define SELF_A (SLOT(4, 3) | SLOT(3, 3) | SLOT(2, 2) | SLOT(1, 1))

#define LEAVES 8 /* tables of the last level that entries of A and B may lead to, and what the pages below say */
#define SAYS(leaf) (0x50u + (leaf))

struct region {
	volatile uint64_t *window[WINDOWS]; /* their pages as the kernel sees them */
	volatile uint64_t *windows;	    /* the table that maps the windows, entry 2 on */
	uint64_t *image;		    /* the FXSAVE image at IMAGE_GVA */
	uint64_t leaf[LEAVES];		    /* entries */
	uint64_t windows_copy, pd_copy;	    /* entries that lead to copies of those on the way to the windows */
	uint64_t root;
};

/* Makes the tables and goes on with `run`, on a stack that traps of ring 3 leave alone. */
noreturn void region_start(void (*run)(void));
extern struct region region;

/* How an attempt ended. */
struct attempt {
	bool fault;
	uint64_t error, cr2;
	unsigned int traces; /* #DB that came */
	uint64_t trace_rip, dr6;
	uint8_t al;
};

/* From ring 0 or ring 3; traced: under TF (ring 0: FXSAVE only). The FPU is loaded from the image first, for a store. */
struct attempt attempt_store(bool user, const struct store *s, uint64_t gva, bool traced);
struct attempt attempt_pushfq(bool user, uint64_t gva, bool traced);
struct attempt attempt_read(bool user, uint64_t gva);
/* RIP at which a traced store of that kind has to stop. */
uint64_t traced_rip(bool user, const struct store *s);

void region_flush(void);
