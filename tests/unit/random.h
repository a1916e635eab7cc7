/*
 * Random numbers of a randomized test (splitmix64: Steele, Lea, Flood, "Fast Splittable
 * Pseudorandom Number Generators"). The seed is printed; SEED=n in the environment repeats a run.
 */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0..limit-1; limit > 0 */
static inline uint64_t random_below(struct random *r, uint64_t limit)
{
	return random_next(r) % limit;
}

static inline struct random random_start(const char *test)
{
	const char *given = getenv("SEED");
	struct timespec now;
	struct random r;

	clock_gettime(CLOCK_REALTIME, &now);
	r.state = (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
	if (given)
		r.state = strtoull(given, NULL, 0);
	printf("%s: SEED=%" PRIu64 "\n", test, r.state);
	fflush(stdout);
	return r;
}
