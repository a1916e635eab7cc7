/*
 * A guest at one instant, taken while it stands still: all its state, and a copy of its RAM, which may be finished when the guest runs
 * again (ram_copy.h). What becomes of the guest afterwards is nothing to a finished capture, which may be written (image_writer.h) by
 * another thread.
 */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/ram_copy.h"
#include "snapshot/snapshot.h"
#include "vmm/dirty.h"

struct reason;
struct vm;

struct capture {
	struct snapshot sn; /* the pages come in when they are written */
	int image_fd;	    /* of the guest image */
	struct ram_copy ram;
	uint64_t expected;  /* bytes of RAM, about */
	uint64_t pause_ns;  /* for which the guest stood still */
	uint64_t behind_ns; /* for which it was copied behind it */
};

/*
 * A chain of captures, of which each has what was written since the one before. All of it is the vCPU's thread's. The VM is to
 * outlive it: epoch_end().
 */
struct epoch {
	struct dirty_consumer consumer;
	struct dirty_set taken; /* by the last capture */
	bool begun;
	bool lost;	       /* the last capture came to nothing: what it took is to be taken again */
	bool full;	       /* wanted: all of RAM, without a parent */
	bool behind;	       /* the last capture was copied behind the guest */
	struct snapshot_id parent; /* unless full */
	struct checksum128 parent_checksum;
	char parent_path[NAME_MAX + 1];
};

void epoch_end(struct epoch *e, struct vm *vm);

/*
 * Any thread, while the guest runs: makes room, so that the guest does not wait for that; about `bytes` of its RAM are expected.
 * Returns 0, or -errno with the reason and nothing to be freed.
 */
int capture_prepare(struct capture *c, struct vm *vm, uint64_t bytes, struct reason *why);

/*
 * The vCPU's thread, between guest runs, with a capture that is prepared: stops the guest and its clock, copies its state, copies its
 * RAM or sees to it that this can be done behind it, and lets it go on as before. Returns 0, or -errno with the reason, nothing to be
 * freed, and the guest as it was; -ESRCH: it ended on the way; -EAGAIN: it is not to be taken now (steering.h). `e`: NULL, or the chain that it is a part of.
 */
int capture_take(struct capture *c, struct vm *vm, struct epoch *e, struct reason *why);

/* Another thread, while the VM is there: copies what is left. Returns 0, or -errno with the reason: then the capture is no good. */
int capture_finish(struct capture *c, struct reason *why);
void capture_free(struct capture *c);
