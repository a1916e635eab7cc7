/*
 * How much memory guests may use together. What is shared can be written at any time, and then each guest needs its own copy: so
 * guests are stopped before memory runs out, and go on when there is room again. Nothing of theirs is lost.
 *
 * Under the scavenger's `work`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct group;
struct vm;

struct memory_bound {
	uint64_t most;	   /* bytes, as the user said; 0 = what the host has */
	uint64_t limit;	   /* bytes that may be used, at the last look */
	uint64_t used;	   /* bytes that guests and what is kept for them use */
	bool stopped;	   /* guests stand still for want of memory */
};

void memory_bound_init(struct memory_bound *b, uint64_t most);

/* Whether this guest's RAM fits if all of it is written. Returns 0 or a logged -ENOMEM. */
int memory_bound_admit(struct memory_bound *b, struct group *groups, const struct vm *vm);

/* Measures, and stops guests or has them go on. */
void memory_bound_look(struct memory_bound *b, struct group *groups);

/* Whether so little is left that pages should go cold whatever the guests would like. */
bool memory_bound_is_near(const struct memory_bound *b);
