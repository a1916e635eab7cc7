/* Launch: from process start to the guest's first byte on the console, and to the end of the process. */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define TARGET 1.5
#define WARM_UP 3

struct series {
	double *ours, *floor;
};

static struct series new_series(unsigned int n)
{
	return (struct series){bench_alloc(n, sizeof(double)), bench_alloc(n, sizeof(double))};
}

/* Frees the series. */
static void add_line(struct report *r, const char *what, struct series *s, unsigned int n, double target)
{
	double ratio = summary_pairwise_ratio(s->ours, s->floor, n);

	report_add(r, (struct line){.what = what, .unit = "µs", .ratio = ratio, .target = target, .target_is = TARGET_OF_RATIO,
				    .ours = summary_of(s->ours, n), .floor = summary_of(s->floor, n)});
	free(s->ours);
	free(s->floor);
}

void bench_launch(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra, "run", b->hello, NULL}, *const floor[] = {b->bare, b->hello, NULL};
	struct series first = new_series(b->runs), end = new_series(b->runs), cpu = new_series(b->runs);

	for (unsigned int i = 0; i < b->runs + WARM_UP; i++) {
		struct child_times o = child_time(ours), f = child_time(floor);
		unsigned int at = i < WARM_UP ? 0 : i - WARM_UP;

		first.ours[at] = o.first_byte_us;
		first.floor[at] = f.first_byte_us;
		end.ours[at] = o.exit_us;
		end.floor[at] = f.exit_us;
		cpu.ours[at] = o.cpu_us;
		cpu.floor[at] = f.cpu_us;
	}
	add_line(r, "launch of hello to its first byte", &first, b->runs, 0);
	add_line(r, "launch of hello to its exit", &end, b->runs, TARGET);
	add_line(r, "launch of hello, processor time", &cpu, b->runs, 0);
}
