/* How much was saved when, by whoever saves memory, and what that cost; and a table of it. */
#pragma once

#include <stdbool.h>

#include "tests/bench/grid.h"

/* At so many seconds from the start: what was saved until then, and the processor time it took. */
struct moment {
	double s, cpu_s, kib;
};

struct course {
	struct moment *moments;
	unsigned int count, room;
};

struct savings {
	double kib;		  /* at its plateau */
	double most_s, all_s;	  /* until 90 % of that, and 99.5 % of it, were saved */
	double cpu_most_s, cpu_s; /* processor time until then */
	double metadata_percent;  /* of the memory looked at */
	double host_kib;	  /* what the host has of it, as it says itself; negative = not measured */
	double slower;		  /* processor time of a round of the guests' hot loop, as a multiple of that without; 0 = there are no guests */
};

/* The caller frees course.moments at the end. */
void course_add(struct course *c, struct moment m);

/* True when hardly anything has come in the last so many seconds. */
bool course_is_at_rest(const struct course *c, double quiet_s);

/* What came of it, with what a course does not know empty. */
struct savings course_savings(const struct course *c);

void savings_table(struct grid *g, const char *title);

/* `oracle_kib`: the most that can be saved; 0 = not known. */
void savings_row(struct grid *g, const char *name, const struct savings *s, double oracle_kib);
