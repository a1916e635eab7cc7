/*
 * A machine for tests of the shadow tables: guest RAM, a pool of shadow pages, and a naive CPU that walks those as
 * hardware would, under the most forgetful and the most stubborn of hosts at once: it keeps every translation it ever
 * used until CR3 is loaded, and every present entry it ever read until the monitor's code stores to it, whatever
 * happens from outside. It sets A when it uses an entry that it has noted without.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/tables.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"

#define MACHINE_POOL_GPA 0xff00040000ull
#define MACHINE_MONITOR_PML4E 0xff00000023ull
#define MACHINE_TLB 64u

struct translation {
	uint64_t gva_page;
	uint64_t frame;
	uint64_t leaf_gpa; /* where its last entry lies */
	bool write, exec;
};

/* What tables_accessed() has to say of a page: yes if the CPU went there or a fault was looked up in it. */
enum machine_use { MACHINE_USED = 1, MACHINE_MAY_BE_USED = 2 };

struct machine {
	struct mem ram;
	struct tables_pool pool;
	struct tables *tables;
	struct cpu_state cs;
	enum view view;

	uint64_t *host_entry; /* by entry of the pool: what the host noted; 0 = nothing */
	struct translation tlb[MACHINE_TLB];
	unsigned int tlb_used;
	uint64_t root; /* real CR3 */

	uint8_t *used; /* by page of RAM, enum machine_use */

	uint64_t exits; /* faults and emulated stores */
	uint64_t edits; /* carried out */
};

void machine_create(struct machine *m, uint64_t ram, uint32_t pool_pages);
void machine_destroy(struct machine *m);

/* What the run loop does before it lets the guest run on: recycling, root, edits, CR3. */
void machine_enter(struct machine *m);

/* The guest was interrupted after `edits` of the waiting edits: they all come again. */
void machine_enter_and_kick(struct machine *m, size_t edits);

/*
 * The same before an instruction that stores to gva[0..count): where that is a table, the page is lent to the guest, until
 * tables_take_back(). A kick may stop the guest after `edits` of the edits, SIZE_MAX lets it come to the instruction.
 */
void machine_lend(struct machine *m, const uint64_t *gva, size_t count, size_t edits);

/* One access of the guest by the CPU alone. Returns true and where it led, or false for a page fault. */
bool machine_touch(struct machine *m, uint64_t gva, unsigned int access, uint64_t *gpa);

enum machine_verdict { MACHINE_DONE, MACHINE_GUEST_FAULT, MACHINE_STORE, MACHINE_DEVICE, MACHINE_STUCK };

/*
 * One access of the guest, from the first try to whatever ends it. *w is the walk of the last fault, if there was
 * one. MACHINE_STUCK: no end in `tries` faults.
 */
enum machine_verdict machine_access(struct machine *m, uint64_t gva, unsigned int access, unsigned int tries,
				    uint64_t *gpa, struct walk *w);

/* A page fault of that access. */
enum tables_verdict machine_fault(struct machine *m, uint64_t gva, unsigned int access, struct walk *w);

/*
 * Asks for the pages used since the last time, and compares them with what this CPU did. Returns whether it was not the
 * first time.
 */
bool machine_check_used(struct machine *m);

/* A guest store to a guest physical address: by the CPU, or emulated and reported where that is a table. */
void machine_store(struct machine *m, uint64_t gpa, const void *bytes, uint64_t size);

/* The checker finds nothing wrong. */
void machine_check(struct machine *m);

uint64_t *machine_word(struct machine *m, uint64_t gpa);
