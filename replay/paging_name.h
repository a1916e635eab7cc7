/*
 * Who delivers a guest's faults and sets the accessed and dirty bits of its tables: what two runs must have in common for their RAM to be
 * the same to the last bit. Software does both as the manuals say, ours as KVM's where that interprets ring 0; of hardware one learns what
 * it does (RFLAGS.RF in a frame, bits that are set ahead of time), and it delivers faults also where KVM keeps shadow tables.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/mmu.h"
#include "vmm/program.h"

#define PAGING_NAME_ROOM 32u

/* Whether both modes have it in common. */
static inline bool paging_is_common(const struct program *p)
{
	return p->host_ring0_interpreted;
}

static inline const char *paging_name(char text[PAGING_NAME_ROOM], const struct program *p, const struct mmu_ops *mmu)
{
	snprintf(text, PAGING_NAME_ROOM, paging_is_common(p) ? "%s" : "%s/%s", p->host_mmu, mmu->name);
	return text;
}

/* Whether that is its name. `mmu` = NULL: the mode was changed, and no name is right. */
static inline bool paging_is(const struct program *p, const struct mmu_ops *mmu, const char *name, size_t size)
{
	char text[PAGING_NAME_ROOM];

	return mmu && strlen(paging_name(text, p, mmu)) == size && !memcmp(text, name, size);
}
