/*
 * A running guest saved once, from beginning to end: room is made, the vCPU's thread has the guest stand still and takes it, what is
 * left is copied behind it, and all is written. Each step is timed and counted in the VM's statistics.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/image_writer.h"

struct epoch;
struct reason;
struct vm;

struct saving {
	const char *path;   /* does not exist yet */
	bool compress;
	uint64_t ram_bytes; /* that will be taken, about */
};

struct saved {
	uint64_t pause_ns, behind_ns;
	uint64_t ram_bytes; /* that were taken */
	struct image_written written;
};

/*
 * A thread of its own, while the VM is there. `e`: NULL, or the chain that the snapshot becomes a part of; the next part has this one for
 * its parent. Returns 0, or -errno with the reason: then the guest goes on, nothing is left behind, and the chain's next part has what
 * this one had. -ESRCH: the guest has ended; -EAGAIN: it is not to be saved now (steering.h).
 */
int saving_run(struct vm *vm, struct epoch *e, const struct saving *what, struct saved *s, struct reason *why);
