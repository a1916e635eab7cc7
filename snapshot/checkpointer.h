/*
 * Saves a guest again and again while it runs (`run --checkpoint DIR`): a full snapshot, then increments on it, which are
 * joined to a full one now and then, and removed. So neither the chain nor the directory grows for ever. A thread of its own writes and
 * joins; the guest stands still only while what it has written since the last time is copied.
 */
#pragma once

#include "vmm/keeper.h"

extern const struct keeper checkpointer;

#define CHECKPOINT_CHAIN 32u /* increments on a full one, at most; fewer if they are as large as it */
