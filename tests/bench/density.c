/* Density: many guests in one process against as many processes of one guest each. */
#include <stdlib.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define GUESTS 100
#define GUESTS_TEXT "100"
#define ROUNDS 7
#define SINGLES 15 /* of which the median stands for all hundred */

static double one_alone(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "run", b->hello, NULL};
	double us[SINGLES];

	for (unsigned int i = 0; i < SINGLES; i++)
		us[i] = child_time(argv).exit_us;
	return summary_of(us, SINGLES).median;
}

void bench_density(const struct bench *b, struct report *r)
{
	const char *const argv[] = {b->penumbra, "run", "--count", GUESTS_TEXT, b->hello, NULL};
	double together[ROUNDS], apart[ROUNDS], ratio;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		together[i] = child_time(argv).exit_us / 1e3;
		apart[i] = one_alone(b) * GUESTS / 1e3;
	}
	ratio = summary_pairwise_ratio(together, apart, ROUNDS);
	report_add(r, (struct line){.what = GUESTS_TEXT " guests in one process (floor: " GUESTS_TEXT " times one)",
				    .unit = "ms", .ours = summary_of(together, ROUNDS), .floor = summary_of(apart, ROUNDS),
				    .ratio = ratio, .target = 1, .target_is_ratio = true});
}
