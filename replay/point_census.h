/*
 * At which instructions the asynchronous points of a log are. An instruction at which a guest was interrupted again and again is one that it
 * executes all the time: there is no walking to such a point by stopping at its instruction.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct point_census {
	uint64_t *rip; /* of each point, in order of address */
	size_t count;
};

/*
 * Reads the whole log from `fd`, the place of which stays as it is. What is damaged, and what is behind that, does not count: who comes there
 * is told. Returns 0, with what point_census_free() frees, or -ENOMEM (not logged).
 */
int point_census_take(struct point_census *c, int fd, const char *name);
void point_census_free(struct point_census *c);

/* How many points are at the instruction. */
size_t point_census_at(const struct point_census *c, uint64_t rip);
