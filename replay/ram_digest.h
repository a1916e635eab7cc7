/*
 * All of a guest's RAM in a number.
 */
#pragma once

#include <stdint.h>

struct mem;

/* Of the page at this gpa; 0 for one that is zero. All RAM's is the sum of them, so it does not matter which pages were looked at. */
uint64_t page_digest(const void *page, uint64_t gpa);

/* The vCPU's thread. Pages that are zero do not count, so that nobody has to touch them. Returns 0 or a logged -errno. */
int ram_digest(struct mem *m, uint64_t *digest);
