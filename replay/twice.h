/*
 * `replay --twice`: when the guest has ended it is put back to where the recording began, and does all of it once more. At each
 * checkpoint all of it is compared: registers, devices and RAM. So it shows whether the guest is what is replayed and nothing else, more
 * finely than the recording can tell.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/replayer.h"
#include "replay/timeline.h"
#include "vmm/vm.h"

#define TWICE_EVERY 1000u /* positions between two checkpoints, unless something else is said */

struct twice {
	struct replay_follower follower;
	struct vm_keep keep;
	struct timeline_options options;
	struct timeline *timeline;
	bool again;	   /* the second time */
	uint64_t ram;	   /* digest of it when the guest ended */
	uint64_t compared; /* checkpoints */
};

/* After replayer_begin(). Must outlive the VM. */
void twice_begin(struct twice *t, struct replayer *r);
