/* The two guests of the yardstick in a run of their own: what they say, and what their scavenger does. */
#pragma once

#include "tests/bench/child.h"
#include "tests/bench/savings.h"
#include "tests/bench/yardstick.h"

struct bench;

struct yard {
	struct child child;
	char directory[40], control_path[60];
	int control;
	char line[200]; /* of its output, as far as it has come */
	unsigned int length, filled; /* guests that have */
	double rounds[YARDSTICK_GUESTS], at_us; /* of the guests; and when the first one said so */
	int vcpu[YARDSTICK_GUESTS];		 /* threads of this process that run the guests */
	double host_kib;      /* of the whole process, when its guests were filled */
};

/* Sums over the guests, and times of those brought back. */
struct yard_stats {
	double saved_kib, metadata_kib, cpu_s, refaults;
	double median_us, p99_us, p999_us; /* the worse of the guests' */
};

/*
 * Starts them with so much RAM each, a scavenger that rests and has these options (or, NULL, none), and these words. Returns when
 * their memory is full. What fails here and below ends the benchmark.
 */
void yard_start(struct yard *y, const struct bench *b, const char *scavenge, const char *words);
void yard_stop(struct yard *y);

void yard_scavenge(struct yard *y, bool on);
struct yard_stats yard_stats(struct yard *y);

/* Follows what is saved, from when it begins until hardly anything comes any more. */
struct course yard_follow(struct yard *y);

/* The mean time of a round, µs: as the clock has it, of the first guest; and how much of it a guest has had a processor. */
struct yard_round {
	double wall_us, cpu_us;
};

/* During so many ms. */
struct yard_round yard_round(struct yard *y, long ms);

/* Memory of the process now, as the host has it. */
double yard_host_kib(const struct yard *y);
