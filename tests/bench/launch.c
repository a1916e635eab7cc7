/* Launch: from process start to the guest's first byte on the console, and to the end of the process. */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define TARGET_RATIO 1.5
#define WARM_UP 3

struct series {
	double *ours, *floor;
};

static struct line line(const char *what, const struct series *s, unsigned int n, double target)
{
	double ratio = summary_pairwise_ratio(s->ours, s->floor, n);

	return (struct line){.what = what, .unit = "µs", .ratio = ratio, .target = target, .target_is_ratio = true,
			     .ours = summary_of(s->ours, n), .floor = summary_of(s->floor, n)};
}

static struct line ratio_of_medians(const char *what, const struct line *l)
{
	struct summary one = {.n = 1, .median = l->ours.median / l->floor.median};

	return (struct line){.what = what, .unit = "ratio of the medians", .ours = one};
}

static struct series series(unsigned int n)
{
	return (struct series){bench_alloc(n, sizeof(double)), bench_alloc(n, sizeof(double))};
}

void bench_launch(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra, "run", b->hello, NULL}, *const floor[] = {b->bare, b->hello, NULL};
	struct series first = series(b->runs), end = series(b->runs);
	struct line ended;

	for (unsigned int i = 0; i < b->runs + WARM_UP; i++) {
		struct child_times a = child_time(ours), f = child_time(floor);
		unsigned int at = i < WARM_UP ? 0 : i - WARM_UP;

		first.ours[at] = a.first_byte_us;
		first.floor[at] = f.first_byte_us;
		end.ours[at] = a.exit_us;
		end.floor[at] = f.exit_us;
	}
	report_add(r, line("launch of hello to its first byte", &first, b->runs, 0));
	ended = line("launch of hello to its exit", &end, b->runs, TARGET_RATIO);
	report_add(r, ended);
	report_add(r, ratio_of_medians("launch of hello to its exit", &ended));
	free(first.ours);
	free(first.floor);
	free(end.ours);
	free(end.floor);
}
