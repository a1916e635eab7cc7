/*
 * Traps put in place of PUSHF and POPF of the guest's kernel, which ring 3 would execute wrongly: the opcode byte, the last
 * one of the instruction, becomes that of HLT, which faults in ring 3 and is as long. Whoever handles the fault asks
 * patches_find() whether the HLT is one of ours.
 *
 * Invariant: between an export of the guest's state and the next run, RAM holds the guest's own bytes: they are put back
 * first, and the traps come in again before the run. So no snapshot sees a trap, nor does direct mode, and a page in which
 * nothing else has changed is not dirty. What a running guest sees is not hidden: one that reads its own code finds f4.
 *
 * The guest may reuse memory or change its code at any time. A place is ours only as long as most of the bytes around it
 * (SCAN_REACH on either side) are the image's; a place that is not any more is left alone, whatever is there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shadow/scan.h"

struct mem;

struct patch {
	uint64_t gpa; /* of the byte exchanged */
	uint8_t before, size;
	uint8_t bytes[2 * SCAN_REACH + 1]; /* of the image, around it */
};

struct patches {
	struct patch *patch; /* ascending gpa */
	size_t count;
	bool in;
};

/* Those the host needs of a scan. Returns 0 or a logged -ENOMEM. Nothing is written. */
int patches_create(struct patches *p, const struct scan *s, const struct scan_host *host);
void patches_destroy(struct patches *p);

/* Into guest RAM, or back out. Doing it twice is doing it once. */
void patches_put_in(struct patches *p, struct mem *m);
void patches_take_out(struct patches *p, struct mem *m);

/* The byte that the HLT at gpa stands for. Returns false if it is the guest's own HLT. */
bool patches_find(const struct patches *p, struct mem *m, uint64_t gpa, uint8_t *byte);

/* Is the HLT at gpa, which patches_find() does not know, ours in code that the guest has copied there? */
bool patches_copied(const struct patches *p, struct mem *m, uint64_t gpa);
