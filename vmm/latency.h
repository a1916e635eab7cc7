/*
 * How long something takes, many times: exact count and least, and a histogram with four buckets an octave, which tells any
 * quantile to within an eighth. Not locked.
 */
#pragma once

#include <stdint.h>

#define LATENCY_BUCKETS 160u /* up to 2^40 ns, a quarter of an hour */

struct latency {
	uint64_t count, min_ns;
	uint32_t bucket[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t ns);

/* What `share` (0 to 1) of the times do not exceed, in nanoseconds; 0 if there are none. */
uint64_t latency_quantile(const struct latency *l, double share);
