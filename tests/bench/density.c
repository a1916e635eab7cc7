/* Density: many guests in one process against as many processes of one guest each. */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define GUESTS 100
#define GUESTS_TEXT "100"
#define ROUNDS 7
#define SINGLES 15 /* of which the median stands for all hundred */

struct cost {
	double wall_ms, cpu_ms;
};

static struct cost all_together(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "run", "--count", GUESTS_TEXT, b->hello, NULL};
	struct child_times times = child_time(argv);

	return (struct cost){times.exit_us / 1e3, times.cpu_us / 1e3};
}

static struct cost one_by_one(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "run", b->hello, NULL};
	double wall[SINGLES], cpu[SINGLES];

	for (unsigned int i = 0; i < SINGLES; i++) {
		struct child_times times = child_time(argv);

		wall[i] = times.exit_us;
		cpu[i] = times.cpu_us;
	}
	return (struct cost){summary_of(wall, SINGLES).median * GUESTS / 1e3, summary_of(cpu, SINGLES).median * GUESTS / 1e3};
}

static void add_line(struct report *r, const char *what, double *ours, double *floor)
{
	double ratio = summary_pairwise_ratio(ours, floor, ROUNDS);

	report_add(r, (struct line){.what = what, .unit = "ms", .ours = summary_of(ours, ROUNDS), .ratio = ratio,
				    .floor = summary_of(floor, ROUNDS), .target = 1, .target_is = TARGET_OF_RATIO});
}

void bench_density(const struct bench *b, struct report *r)
{
	double wall[ROUNDS], cpu[ROUNDS], wall_floor[ROUNDS], cpu_floor[ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct cost together = all_together(b), apart = one_by_one(b);

		wall[i] = together.wall_ms;
		cpu[i] = together.cpu_ms;
		wall_floor[i] = apart.wall_ms;
		cpu_floor[i] = apart.cpu_ms;
	}
	add_line(r, GUESTS_TEXT " guests in one process (floor: " GUESTS_TEXT " times one)", wall, wall_floor);
	add_line(r, "the same, processor time", cpu, cpu_floor);
}
