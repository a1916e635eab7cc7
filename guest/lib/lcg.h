/*
 * A chain of numbers in which each depends on the one before (Knuth's MMIX generator), so that computing it takes its
 * steps; and what it comes to after any number of them, in a few multiplications, so that the result can be checked.
 */
#pragma once

#include <stdint.h>

#define LCG_FACTOR 6364136223846793005ull
#define LCG_ADD 1442695040888963407ull

static inline uint64_t lcg_next(uint64_t state)
{
	return state * LCG_FACTOR + LCG_ADD;
}

/*
 * As lcg_next() `steps` times, by steps of twice the length (F. Brown, Random Number Generation with Arbitrary Stride,
 * 1994).
 */
static inline uint64_t lcg_after(uint64_t state, uint64_t steps)
{
	uint64_t factor = LCG_FACTOR;
	uint64_t add = LCG_ADD;

	for (; steps > 0; steps >>= 1) {
		if (steps & 1)
			state = state * factor + add;
		add *= factor + 1;
		factor *= factor;
	}
	return state;
}
