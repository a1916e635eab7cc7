/* Density: many guests in one process against as many processes of one guest each, in turn. */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"

#define GUESTS 100
#define GUESTS_TEXT "100"

struct cost {
	double wall_ms, cpu_ms;
};

static struct cost all_together(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "run", "--count", GUESTS_TEXT, b->hello, NULL};
	struct child_times times = child_time(argv);

	return (struct cost){times.exit_us / 1e3, times.cpu_us / 1e3};
}

/* Really all of them: a scheduler favours a few short processes over a long one. */
static struct cost one_by_one(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "run", b->hello, NULL};
	struct cost sum = {0, 0};

	for (unsigned int i = 0; i < GUESTS; i++) {
		struct child_times times = child_time(argv);

		sum.wall_ms += times.exit_us / 1e3;
		sum.cpu_ms += times.cpu_us / 1e3;
	}
	return sum;
}

void bench_density(const struct bench *b, struct report *r)
{
	unsigned int rounds = b->runs / 20 + 1;
	struct series wall = series_new(rounds), cpu = series_new(rounds);

	for (unsigned int i = 0; i < rounds; i++) {
		struct cost together = all_together(b), apart = one_by_one(b);

		wall.ours[i] = together.wall_ms;
		cpu.ours[i] = together.cpu_ms;
		wall.floor[i] = apart.wall_ms;
		cpu.floor[i] = apart.cpu_ms;
	}
	series_report(&wall, r, (struct line){
		.what = GUESTS_TEXT " guests in one process (floor: " GUESTS_TEXT " processes)",
		.unit = "ms", .target = 1, .target_is = TARGET_OF_RATIO});
	series_report(&cpu, r, (struct line){
		.what = "the same, processor time", .unit = "ms",
		.target = 1, .target_is = TARGET_OF_RATIO});
}
