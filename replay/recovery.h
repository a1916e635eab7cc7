/*
 * A guest that is brought to where it was last: made of a snapshot that was taken while it was recorded (`restore --recording DIR`), it does
 * again what it did from there to the recording's end, and then goes on by itself.
 *
 * Invariants:
 *
 * 1. Up to the log's last whole block it does what it did: the recorder wrote that before anything of it was seen (recorder.h).
 * 2. What it did to disks is not done again where the log has its outcome: it was done, and so perhaps was what came later.
 * 3. Where the log has no more, what devices bring is taken as it is; the guest is let go at the next boundary.
 */
#pragma once

#include "vmm/steering.h"

extern const struct recovery_feature recovery_feature;
