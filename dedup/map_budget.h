/*
 * How many mappings the scavenger may make. A process may have so many (vm.max_map_count) and no more, and whoever needs one when
 * there are none left fails, be it a guest that starts, a thread or malloc(). So a quarter is never touched, and what the process
 * has already is not counted on either.
 *
 * One for the process; any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct map_budget {
	uint64_t most; /* that could be taken at the start */
	_Atomic uint64_t left;
};

/*
 * Looks at what the host allows and what there is (below `root`, "" for the real host). Returns 0 or a logged -errno; then
 * nothing can be taken.
 */
int map_budget_init(struct map_budget *b, const char *root);

/*
 * n mappings more, or none of them: false. One that comes to lie within another leaves a part of that on either side, so it needs
 * two; one at its border needs one.
 */
bool map_budget_take(struct map_budget *b, uint64_t n);
void map_budget_give(struct map_budget *b, uint64_t n);

/*
 * Mappings end, or become one, also when nobody says so. Gives back what is left beyond what was thought to be. Where that cannot be
 * found out, which is logged, nothing changes. For the one thread that takes.
 */
void map_budget_recount(struct map_budget *b, const char *root);

uint64_t map_budget_left(const struct map_budget *b);
