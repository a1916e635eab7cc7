/*
 * What is kept of each access, so that the first one that is not as it was can be told: a byte of a running digest over all of them.
 */
#pragma once

#include <stdint.h>
#include <xxhash.h>

#include "vmm/access.h"

/* The digest after this access, when it was `before`; its lowest byte goes into the log. */
static inline uint64_t access_check(uint64_t before, const struct access *a)
{
	uint64_t words[] = {(uint64_t)a->kind << 8 | a->size, a->addr, a->value};

	return XXH3_64bits_withSeed(words, sizeof(words), before);
}
