/*
 * Launch: from process start to the guest's first byte on the console, and to the end of the
 * process.
 */
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"

#define TARGET 1.5
#define WARM_UP 3

void bench_launch(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra, "run", b->hello, NULL};
	const char *const floor[] = {b->bare, b->hello, NULL};
	struct series first = series_new(b->runs), end = series_new(b->runs);
	struct series cpu = series_new(b->runs);

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
	series_report(&first, r, (struct line){
		.what = "launch of hello to its first byte", .unit = "µs"});
	series_report(&end, r, (struct line){
		.what = "launch of hello to its exit", .unit = "µs",
		.target = TARGET, .target_is = TARGET_OF_RATIO});
	series_report(&cpu, r, (struct line){
		.what = "launch of hello, processor time", .unit = "µs"});
}
