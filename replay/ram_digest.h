/*
 * All of a guest's RAM in a number.
 */
#pragma once

#include <stdint.h>

struct mem;

/* The vCPU's thread. Pages that are zero do not count, so that nobody has to touch them. Returns 0 or a logged -errno. */
int ram_digest(struct mem *m, uint64_t *digest);
