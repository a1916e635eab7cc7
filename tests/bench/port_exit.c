/*
 * What a port exit costs: the monitor's own time in user space (see timed_run.c), and the wall time
 * of the whole exit, from runs with many and with few of them, so that launch cancels out.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"

#define MANY "20000"
#define FEW "2000"
#define DIFFERENCE 18000
#define ROUNDS 11
#define TARGET_NS 500

/* What timed_run.c wrote, in ns, without the cost of the clock. */
static struct spread read_times(FILE *f)
{
	uint32_t cost, ns;
	size_t n = 0, room = 1u << 18;
	double *samples = bench_alloc(room, sizeof(*samples));
	struct spread s;

	if (fread(&cost, sizeof(cost), 1, f) != 1)
		errx(1, "a timed run left no times");
	while (n < room && fread(&ns, sizeof(ns), 1, f) == 1)
		samples[n++] = (double)ns - cost;
	if (n < DIFFERENCE)
		errx(1, "a timed run has only %zu exits", n);
	s = spread_of_values(samples, n);
	free(samples);
	return s;
}

static struct spread timed(const char *const argv[])
{
	int fd = memfd_create("times", 0);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char setting[64];
	struct spread s;
	struct child c;

	if (!f)
		err(1, "memfd_create");
	snprintf(setting, sizeof(setting), "BENCH_TIMES=/proc/self/fd/%d", fd);
	c = child_start(argv, &(struct child_options){.setting = setting});
	child_finish(&c);
	s = read_times(f);
	fclose(f);
	return s;
}

static void user_space(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra_timed, "run", b->ports, "--", MANY, NULL};
	const char *const floor[] = {b->bare_timed, b->ports, MANY, NULL};
	struct series s = series_new(ROUNDS);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		s.ours[i] = timed(ours).median;
		s.floor[i] = timed(floor).median;
	}
	series_report(&s, r, (struct line){
		.what = "port exit, time in user space", .unit = "ns",
		.target = TARGET_NS, .target_is = TARGET_TIME});
}

/* From runs with many and with few exits, one after the other. */
static double exit_us(const char *const many[], const char *const few[])
{
	struct child m = child_start(many, NULL);
	double long_run = child_finish(&m).exit_us;
	struct child f = child_start(few, NULL);

	return (long_run - child_finish(&f).exit_us) / DIFFERENCE;
}

static void round_trip(const struct bench *b, struct report *r)
{
	const char *const ours_many[] = {b->penumbra, "run", b->ports, "--", MANY, NULL};
	const char *const ours_few[] = {b->penumbra, "run", b->ports, "--", FEW, NULL};
	const char *const floor_many[] = {b->bare, b->ports, MANY, NULL};
	const char *const floor_few[] = {b->bare, b->ports, FEW, NULL};
	struct series s = series_new(ROUNDS);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		s.ours[i] = exit_us(ours_many, ours_few);
		s.floor[i] = exit_us(floor_many, floor_few);
	}
	series_report(&s, r, (struct line){
		.what = "port exit, from the guest and back", .unit = "µs"});
}

void bench_port_exit(const struct bench *b, struct report *r)
{
	user_space(b, r);
	round_trip(b, r);
}
