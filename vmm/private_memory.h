/*
 * How much memory the process has for itself besides guest RAM.
 */
#pragma once

#include <stdint.h>

struct fleet;

/*
 * KiB of Private_Dirty in /proc/self/smaps, less the mappings that are some VM's RAM. Returns 0 or a logged -errno.
 */
int private_memory_kib(const struct fleet *f, uint64_t *kib);
