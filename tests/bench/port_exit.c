/*
 * What a port exit costs: the monitor's own time in user space (see timed_run.c), and the wall time of the whole exit,
 * from runs with many and with few of them, so that launch cancels out.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define MANY "20000"
#define FEW "2000"
#define DIFFERENCE 18000
#define ROUNDS 11
#define TARGET_NS 500

/* What timed_run.c wrote, in ns, without the cost of the clock. */
static struct summary read_times(FILE *f)
{
	uint32_t cost, ns;
	size_t n = 0, room = 1u << 18;
	double *samples = bench_alloc(room, sizeof(*samples));
	struct summary s;

	if (fread(&cost, sizeof(cost), 1, f) != 1)
		errx(1, "a timed run left no times");
	while (n < room && fread(&ns, sizeof(ns), 1, f) == 1)
		samples[n++] = (double)ns - cost;
	s = summary_of(samples, n);
	free(samples);
	return s;
}

static struct summary timed(const char *const argv[])
{
	char path[] = "/tmp/penumbra-bench.XXXXXX", setting[64];
	struct summary s;
	struct child c;
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f)
		err(1, "%s", path);
	snprintf(setting, sizeof(setting), "BENCH_TIMES=%s", path);
	c = child_start(argv, &(struct child_options){.setting = setting});
	child_finish(&c);
	s = read_times(f);
	fclose(f);
	unlink(path);
	return s;
}

static void user_space(const struct bench *b, struct report *r)
{
	const char *const ours[] = {b->penumbra_timed, "run", b->ports, "--", MANY, NULL};
	const char *const floor[] = {b->bare_timed, b->ports, MANY, NULL};
	double a[ROUNDS], f[ROUNDS], ratio;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		a[i] = timed(ours).median;
		f[i] = timed(floor).median;
	}
	ratio = summary_pairwise_ratio(a, f, ROUNDS);
	report_add(r, (struct line){.what = "port exit, time in user space", .unit = "ns", .ratio = ratio,
				    .ours = summary_of(a, ROUNDS), .floor = summary_of(f, ROUNDS), .target = TARGET_NS,
				    .target_is = TARGET_TIME});
}

static double run_us(const char *const argv[])
{
	struct child c = child_start(argv, NULL);

	return child_finish(&c).exit_us;
}

static double exit_us(const char *const many[], const char *const few[])
{
	double long_run = run_us(many);

	return (long_run - run_us(few)) / DIFFERENCE;
}

void bench_port_exit(const struct bench *b, struct report *r)
{
	const char *const ours_many[] = {b->penumbra, "run", b->ports, "--", MANY, NULL};
	const char *const ours_few[] = {b->penumbra, "run", b->ports, "--", FEW, NULL};
	const char *const floor_many[] = {b->bare, b->ports, MANY, NULL}, *const floor_few[] = {b->bare, b->ports, FEW, NULL};
	double a[ROUNDS], f[ROUNDS], ratio;

	user_space(b, r);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		a[i] = exit_us(ours_many, ours_few);
		f[i] = exit_us(floor_many, floor_few);
	}
	ratio = summary_pairwise_ratio(a, f, ROUNDS);
	report_add(r, (struct line){.what = "port exit, from the guest and back", .unit = "µs", .ratio = ratio,
				    .ours = summary_of(a, ROUNDS), .floor = summary_of(f, ROUNDS)});
}
