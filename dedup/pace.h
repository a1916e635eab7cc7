/*
 * How fast the scavenger goes: how much of a processor it uses, and how many pages of a guest it lets go cold. Arithmetic only; time is
 * given to it, in nanoseconds.
 */
#pragma once

#include <stdint.h>

/* Processor time within a share of real time, in the long run and within any second. */
struct pace_cpu {
	unsigned int percent;
	uint64_t wall_ns, cpu_ns; /* at the last look */
	int64_t credit_ns;	  /* processor time that may be used now; below 0 = overdrawn */
};

void pace_cpu_init(struct pace_cpu *p, unsigned int percent, uint64_t wall_ns, uint64_t cpu_ns);

/* Says what was used until now. Returns for how long to rest, 0 = go on. */
uint64_t pace_cpu_rest(struct pace_cpu *p, uint64_t wall_ns, uint64_t cpu_ns);

/*
 * Pages a guest may lose at a time, so that it brings back about `target` pages a second: more while it brings back fewer, and half as
 * many at once when it brings back too many (additive increase, multiplicative decrease, as in Jacobson, "Congestion avoidance and
 * control", SIGCOMM 1988).
 */
struct pace_cold {
	unsigned int target;  /* refaults a second */
	double rate;	      /* evictions a second */
	uint64_t wall_ns, refaults; /* at the last look */
	double carry;	      /* part of a page */
};

void pace_cold_init(struct pace_cold *p, unsigned int target, uint64_t wall_ns, uint64_t refaults);

/* Given the count of refaults so far: how many pages may go until the next call. */
unsigned int pace_cold_allowance(struct pace_cold *p, uint64_t wall_ns, uint64_t refaults);
