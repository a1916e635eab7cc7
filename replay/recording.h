/*
 * `penumbra run --record DIR`: a guest is recorded from its first instruction to its end (docs/recording-format.md).
 */
#pragma once

#include "vmm/steering.h"

extern const struct recording_feature recording_feature;
