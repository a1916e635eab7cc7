/*
 * What checkpoints every 50 ms cost a guest that writes 10 MiB/s, in pages that are others in every one of these intervals, and
 * looks at much more: the time it takes for its rounds, beside the same without checkpoints.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/saved_guest.h"
#include "tests/bench/series.h"
#include "tests/bench/stopwatch.h"

#define EVERY_MS 50.0
#define HOT "128" /* pages: 10 MiB/s if a round takes 50 ms */
#define TRIAL_PAGES 8000.0
#define SKIPPED 10u /* rounds, until the first checkpoint, of all RAM, is over */
#define ROUNDS 50u
#define TARGET 1.1

/* Reads lines; when the last of so many had come. */
static double after_lines(const struct child *c, unsigned int lines)
{
	char text[4096];

	while (lines) {
		ssize_t n = read(c->output, text, 1);

		if (n <= 0)
			errx(1, "the guest has ended too soon");
		lines -= text[0] == '\n';
	}
	return stopwatch_us();
}

/* The mean time of a round of a guest that looks at so many pages, ms. */
static double round_ms(const struct bench *b, unsigned int pages, bool checkpoints)
{
	char unique[30], path[80];
	const char *const with[] = {b->penumbra, "run", "--mem=256M", "--checkpoint", path, "--checkpoint-every=50", b->memory,
				    "--", unique, "hot=" HOT, "rounds=0", NULL};
	const char *const without[] = {b->penumbra, "run", "--mem=256M", b->memory, "--", unique, "hot=" HOT, "rounds=0", NULL};
	struct saved_guest place;
	struct child c;
	double start;

	saved_guest_make(&place, b);
	saved_guest_path(&place, "checkpoints", path);
	snprintf(unique, sizeof(unique), "unique=%u", pages);
	c = child_start(checkpoints ? with : without, &(struct child_options){.quiet = true});
	start = after_lines(&c, 1 + SKIPPED);
	start = after_lines(&c, ROUNDS) - start;
	child_stop(&c);
	saved_guest_remove(&place);
	return start / 1e3 / ROUNDS;
}

void bench_checkpoint(const struct bench *b, struct report *r)
{
	unsigned int rounds = b->runs / 20 + 1;
	double trial = round_ms(b, (unsigned int)TRIAL_PAGES, false);
	double pages = TRIAL_PAGES * EVERY_MS / trial;
	struct series s = series_new(rounds);

	pages = pages < 50000 ? pages : 50000;
	for (unsigned int i = 0; i < rounds; i++) {
		s.ours[i] = round_ms(b, (unsigned int)pages, true);
		s.floor[i] = round_ms(b, (unsigned int)pages, false);
	}
	/* In the lab guest and writer share one emulated processor. */
	series_report(&s, r, (struct line){
		.what = "round of a guest that writes 10 MiB/s, saved every 50 ms (floor: not saved)", .unit = "ms",
		.target = getenv("PENUMBRA_LAB") ? 0 : TARGET, .target_is = TARGET_OF_RATIO});
}
