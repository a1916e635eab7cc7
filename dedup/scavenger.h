/*
 * The scavenger: one thread that goes over the RAM of all guests of a run, a few pages at a time, and sleeps in between.
 */
#pragma once

#include "vmm/scavenging.h"

extern const struct scavenging scavenging;
