#include "dedup/pace.h"

#define SECOND 1000000000ull
#define PERCENT_MOST 100000u
#define ELAPSED_MOST (1000 * SECOND) /* of an interval; times PERCENT_MOST that is far below 2^63 */
#define DEBT_MOST (60 * SECOND)	     /* processor time; a clock gone mad costs no more than to pay that back */

/*
 * Refaults are counted for so long, or until there are too many. The fewer are wanted the longer it takes to tell: sixteen that
 * are expected are twenty-two by chance once in ten times, one is two once in four.
 */
#define WINDOW_LEAST (SECOND / 2)
#define WINDOW_MOST (8 * SECOND)
#define WINDOW_REFAULTS 16u
/* Between a half and the whole of what is too many lie three quarters of it on average: that is to be the target. */
#define TOO_MANY (4. / 3)
/* No second cut before the first can have shown: ten a second bring any rate to the floor within two. */
#define CUT_LEAST (SECOND / 10)
/*
 * What a cut took comes back in so many windows, steadily; if it is not cut again by then, the guest has changed and growth is
 * fast: it doubles every two windows.
 */
#define REGAIN_WINDOWS 8u
#define CALM_WINDOWS 3u		/* e-fold */
#define START_FOLD (SECOND / 7) /* doubles in a tenth of a second: pages that are in use come back at once */
/* Evictions for each wanted refault: at the start, at least (all may come back, and it is a tenth of what is allowed), at most. */
#define START_SHARE 20.
#define FLOOR_SHARE .1
#define CEILING_SHARE 1000. /* a guest that brings back one in a thousand: it is idle, only the processor limits */
#define FLOOR 1.	    /* a second; with less it would never be noticed that the guest has become idle */
#define CEILING_LEAST 2000.
#define CEILING_MOST 131072. /* half a GiB a second */

static uint64_t since(uint64_t from, uint64_t to, uint64_t most)
{
	uint64_t elapsed = to > from ? to - from : 0;

	return elapsed < most ? elapsed : most;
}

void pace_cpu_init(struct pace_cpu *p, unsigned int percent, uint64_t wall_ns, uint64_t cpu_ns)
{
	*p = (struct pace_cpu){.percent = percent < PERCENT_MOST ? percent : PERCENT_MOST, .wall_ns = wall_ns, .cpu_ns = cpu_ns};
}

uint64_t pace_cpu_rest(struct pace_cpu *p, uint64_t wall_ns, uint64_t cpu_ns)
{
	int64_t most = (int64_t)(PACE_CPU_SAVED * p->percent);
	uint64_t rest;

	p->credit += (int64_t)(since(p->wall_ns, wall_ns, ELAPSED_MOST) * p->percent);
	p->credit = p->credit < most ? p->credit : most;
	p->credit -= (int64_t)(since(p->cpu_ns, cpu_ns, DEBT_MOST) * 100);
	p->credit = p->credit > -(int64_t)(DEBT_MOST * 100) ? p->credit : -(int64_t)(DEBT_MOST * 100);
	p->wall_ns = wall_ns;
	p->cpu_ns = cpu_ns;
	if (!p->percent)
		return PACE_CPU_REST_MOST;
	if (p->credit >= 0)
		return 0;
	/* Until half of what can be saved is there: then there are few and long rests, not one after each page. */
	rest = (uint64_t)(most / 2 - p->credit) / p->percent;
	return rest < PACE_CPU_REST_MOST ? rest : PACE_CPU_REST_MOST;
}

static double between(double least, double x, double most)
{
	return x < least ? least : x > most ? most : x;
}

static double fastest(const struct pace_cold *p)
{
	return between(CEILING_LEAST, CEILING_SHARE * p->target, CEILING_MOST);
}

static double slowest(const struct pace_cold *p)
{
	return between(FLOOR, FLOOR_SHARE * p->target, fastest(p));
}

static uint64_t window(const struct pace_cold *p)
{
	uint64_t ns = p->target ? WINDOW_REFAULTS * SECOND / p->target : WINDOW_MOST;

	return ns < WINDOW_LEAST ? WINDOW_LEAST : ns > WINDOW_MOST ? WINDOW_MOST : ns;
}

void pace_cold_init(struct pace_cold *p, unsigned int target, uint64_t wall_ns, uint64_t refaults)
{
	*p = (struct pace_cold){.target = target, .wall_ns = wall_ns, .refaults = refaults, .since_ns = wall_ns};
	p->rate = between(slowest(p), START_SHARE * target, fastest(p));
}

static void cut(struct pace_cold *p)
{
	p->rate = between(slowest(p), p->rate / 2, fastest(p));
	p->cut_rate = p->rate;
	p->cut_ns = p->wall_ns;
	p->halved = true;
}

static void grow(struct pace_cold *p, double elapsed)
{
	uint64_t regain = REGAIN_WINDOWS * window(p);

	if (!p->halved)
		p->rate += p->rate * between(0, elapsed / START_FOLD, 1);
	else if (since(p->cut_ns, p->wall_ns, regain) < regain)
		p->rate += p->cut_rate * between(0, elapsed / (double)regain, 1);
	else
		p->rate += p->rate * between(0, elapsed / (double)(CALM_WINDOWS * window(p)), 1);
	p->rate = between(slowest(p), p->rate, fastest(p));
}

static void count_anew(struct pace_cold *p)
{
	p->since_ns = p->wall_ns;
	p->came = 0;
}

/* Adjusts the rate after so many more nanoseconds. */
static void steer(struct pace_cold *p, double elapsed)
{
	uint64_t counted = since(p->since_ns, p->wall_ns, UINT64_MAX);

	if ((double)p->came <= TOO_MANY * p->target * (double)window(p) / SECOND) {
		if (!p->idle)
			grow(p, elapsed);
		if (counted >= window(p))
			count_anew(p);
	} else if (counted >= CUT_LEAST) {
		cut(p);
		count_anew(p);
	}
}

unsigned int pace_cold_allowance(struct pace_cold *p, uint64_t wall_ns, uint64_t refaults)
{
	double elapsed = (double)since(p->wall_ns, wall_ns, SECOND), due;
	unsigned int pages;

	/* A clock that went back must not keep us waiting for what it showed before. */
	if (wall_ns < p->wall_ns)
		p->since_ns = p->cut_ns = wall_ns;
	p->came += since(p->refaults, refaults, UINT32_MAX);
	p->refaults = refaults;
	p->wall_ns = wall_ns;
	steer(p, elapsed);
	p->idle = false;
	due = p->carry + p->rate * elapsed / SECOND;
	pages = (unsigned int)due;
	p->carry = due - pages;
	p->allowed = pages;
	return pages;
}

void pace_cold_unused(struct pace_cold *p, unsigned int pages)
{
	p->idle = pages > p->allowed / 2;
}
