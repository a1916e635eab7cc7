/*
 * RAM as KVM sees it: one memslot for each region of mem.h, and the dirty log KVM keeps for them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/mem.h"

struct slots {
	int vm_fd;
	const struct mem *mem;
	bool logging;
};

/* First slot number that is free for a backend's own use. */
#define SLOTS_FREE MEM_MAX_REGIONS

/* Gives the VM its RAM. Returns 0 or a logged -errno. */
int slots_create(struct slots *s, int vm_fd, const struct mem *m);
void slots_destroy(struct slots *s);

/* Starts or stops KVM's dirty log, for guest stores only: what the VMM writes is seen at the door (dirty.h). */
int slots_log(struct slots *s, bool on);

/*
 * Deletes and adds all slots: KVM drops whatever it derived from guest RAM. A KVM that shadows the guest's tables itself
 * learns of stores by the guest alone; tables that the VMM wrote would stay as they were for it, whatever is flushed. What
 * KVM's dirty log holds is lost: dirty_settle() first. Returns 0 or a logged -errno; then the VM has no RAM any more.
 */
int slots_forget(struct slots *s);

/*
 * Reads and clears the log of region n into bitmap: one bit a page, rounded up to 64 pages. Pages stay write-protected
 * until the guest writes them again. Returns 0 or a logged -errno.
 */
int slots_harvest(struct slots *s, unsigned int n, uint64_t *bitmap);
