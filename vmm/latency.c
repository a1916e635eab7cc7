#include "vmm/latency.h"

#define PER_OCTAVE 4u

/* Times below 4 ns have buckets of their own; from there on the top bit names the octave, the two below it the quarter. */
static unsigned int bucket_of(uint64_t ns)
{
	unsigned int top, n;

	if (ns < PER_OCTAVE)
		return (unsigned int)ns;
	top = 63u - (unsigned int)__builtin_clzll(ns);
	n = (top - 1) * PER_OCTAVE + (unsigned int)(ns >> (top - 2) & 3);
	return n < LATENCY_BUCKETS ? n : LATENCY_BUCKETS - 1;
}

/* The middle of a bucket. */
static uint64_t time_of(unsigned int n)
{
	unsigned int top = n / PER_OCTAVE + 1;
	uint64_t quarter;

	if (n < PER_OCTAVE)
		return n;
	quarter = 1ull << (top - 2);
	return (PER_OCTAVE + n % PER_OCTAVE) * quarter + quarter / 2;
}

void latency_add(struct latency *l, uint64_t ns)
{
	if (!l->count++ || ns < l->min_ns)
		l->min_ns = ns;
	l->bucket[bucket_of(ns)]++;
}

uint64_t latency_quantile(const struct latency *l, double share)
{
	double wanted = share * (double)l->count, seen = 0;

	for (unsigned int n = 0; n < LATENCY_BUCKETS; n++) {
		seen += l->bucket[n];
		if (l->bucket[n] && seen >= wanted)
			return time_of(n) > l->min_ns ? time_of(n) : l->min_ns;
	}
	return 0;
}
