/*
 * The host's time, for how long something took.
 */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
