/*
 * How fast the scavenger goes: how much of a processor it uses, and how many pages of a guest it lets go cold. Arithmetic only;
 * time is given to it, in nanoseconds. A clock that goes back is taken to have stood still; one that jumps ahead earns no more
 * than a bounded burst.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PACE_CPU_REST_MOST 1000000000ull /* ns; who rests looks around at least so often */

/*
 * Processor time within a share of real time. What was used never exceeds the share of the time since the start by more than the
 * share of PACE_CPU_SAVED and what was used between two looks; the same holds for any stretch of time, so within a second it is
 * at most 1.1 of the share and the time between two looks.
 */
#define PACE_CPU_SAVED 100000000ull /* ns of real time whose share may be saved up */

struct pace_cpu {
	unsigned int percent;
	uint64_t wall_ns, cpu_ns; /* at the last look */
	int64_t credit;		  /* processor time that may be used now, in hundredths of a nanosecond; below 0 = overdrawn */
};

/* percent: of one core; 0 = none at all, 100 and more = no limit for one thread. */
void pace_cpu_init(struct pace_cpu *p, unsigned int percent, uint64_t wall_ns, uint64_t cpu_ns);

/* Says what was used until now. Returns for how long to rest, at most PACE_CPU_REST_MOST, before it is asked again; 0 = go on. */
uint64_t pace_cpu_rest(struct pace_cpu *p, uint64_t wall_ns, uint64_t cpu_ns);

/*
 * Pages a guest may lose at a time, so that it brings back about `target` pages a second: more while it brings back fewer, and
 * half as many at once when it brings back too many (additive increase, multiplicative decrease, as in Jacobson, "Congestion
 * avoidance and control", SIGCOMM 1988; from there also the fast start until that happens first).
 */
struct pace_cold {
	unsigned int target;	    /* refaults a second */
	double rate;		    /* evictions a second */
	double cut_rate;	    /* rate after it was last halved */
	bool halved;		    /* the start is over */
	uint64_t cut_ns;	    /* when that was */
	uint64_t wall_ns, refaults; /* at the last look */
	uint64_t since_ns, came;    /* refaults are counted from there, and so many came */
	double carry;		    /* part of a page */
	unsigned int allowed;	    /* by the last look */
	bool idle;		    /* most of that was not used */
};

void pace_cold_init(struct pace_cold *p, unsigned int target, uint64_t wall_ns, uint64_t refaults);

/*
 * Given the count of refaults so far: how many pages may go until the next call. Best called some ten times a second or more
 * often; what would be due for more than a second is forfeited. target 0: pages go, slowly, as long as none comes back.
 */
unsigned int pace_cold_allowance(struct pace_cold *p, uint64_t wall_ns, uint64_t refaults);

/*
 * So many of the pages that may go do not, because nothing else is idle. Then that the guest brings back few says nothing about
 * a faster rate, which is not tried.
 */
void pace_cold_unused(struct pace_cold *p, unsigned int pages);
