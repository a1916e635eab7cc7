/*
 * Launch of a Solo5 unikernel, from process start to the end of the process, beside that of our own hello: its page tables have more
 * to say, and it makes tables of its own before it says hello.
 */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"

#define TARGET 1.3
#define WARM_UP 3

void bench_solo5(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra, "run", b->solo5, NULL};
	const char *const floor[] = {b->penumbra, "run", b->hello, NULL};
	struct series end = series_new(b->runs);

	for (unsigned int i = 0; i < b->runs + WARM_UP; i++) {
		unsigned int at = i < WARM_UP ? 0 : i - WARM_UP;

		end.ours[at] = child_time(ours).exit_us;
		end.floor[at] = child_time(floor).exit_us;
	}
	series_report(&end, r, (struct line){
		.what = "launch of solo5-hello to its exit (floor: our hello)", .unit = "µs",
		.target = TARGET, .target_is = TARGET_OF_RATIO});
}
