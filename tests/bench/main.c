/*
 * bench [--json] [--check] [--runs N] [--build DIR] [launch] [port-exit] [memory] [density] [shadow] [solo5] [disk] [disk-guest] [fault]
 *       [--mem MIB] [snapshot] [checkpoint] [clone] [scavenger] [ksm] [recording] [reverse]
 *
 * Measures what Penumbra's build in DIR costs, beside a floor where there is one; all benchmarks
 * unless some are named.
 */
#include <argp.h>
#include <err.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/report.h"

static const struct {
	const char *name;
	void (*run)(const struct bench *b, struct report *r);
} benchmarks[] = {
	{"launch", bench_launch},
	{"solo5", bench_solo5},
	{"port-exit", bench_port_exit},
	{"memory", bench_memory},
	{"density", bench_density},
	{"shadow", bench_shadow},
	{"disk", bench_disk},
	{"disk-guest", bench_disk_guest},
	{"fault", bench_fault},
	{"snapshot", bench_snapshot},
	{"checkpoint", bench_checkpoint},
	{"clone", bench_clone},
	{"scavenger", bench_scavenger},
	{"ksm", bench_ksm},
	{"recording", bench_recording},
	{"reverse", bench_reverse},
};

#define BENCHMARK_COUNT (sizeof(benchmarks) / sizeof(*benchmarks))
#define DEFAULT_RUNS 101
#define MAX_RUNS 10000
#define DEFAULT_MIB 256
#define MIN_MIB 64
#define MAX_MIB 2048

enum key { KEY_JSON = 0x100, KEY_CHECK, KEY_RUNS, KEY_BUILD, KEY_MEM };

static const struct argp_option options[] = {
	{"json", KEY_JSON, NULL, 0, "Print JSON instead of a table", 0},
	{"check", KEY_CHECK, NULL, 0, "Exit with 3 if a target is missed", 0},
	{"runs", KEY_RUNS, "N", 0, "Pairs of launches to measure (default: 101)", 0},
	{"mem", KEY_MEM, "MIB", 0, "RAM of the guest that is saved (default: 256)", 0},
	{"build", KEY_BUILD, "DIR", 0, "Build directory (default: where this program lies)", 0},
	{0},
};

struct settings {
	struct bench bench;
	bool json, check, chosen[BENCHMARK_COUNT], some_chosen;
	const char *build;
};

void *bench_alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		errx(1, "out of memory");
	return p;
}

static error_t choose(struct settings *s, const char *name)
{
	for (size_t i = 0; i < BENCHMARK_COUNT; i++)
		if (!strcmp(name, benchmarks[i].name)) {
			s->chosen[i] = s->some_chosen = true;
			return 0;
		}
	errx(1, "%s: no such benchmark", name);
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct settings *s = state->input;
	long n;

	switch (key) {
	case KEY_JSON: s->json = true; return 0;
	case KEY_CHECK: s->check = true; return 0;
	case KEY_BUILD: s->build = arg; return 0;
	case KEY_RUNS:
		n = strtol(arg, NULL, 10);
		if (n < 1 || n > MAX_RUNS)
			errx(1, "--runs=%s: give a number from 1 to %d", arg, MAX_RUNS);
		s->bench.runs = (unsigned int)n;
		return 0;
	case KEY_MEM:
		n = strtol(arg, NULL, 10);
		if (n < MIN_MIB || n > MAX_MIB)
			errx(1, "--mem=%s: give a number from %d to %d", arg, MIN_MIB, MAX_MIB);
		s->bench.mib = (unsigned int)n;
		return 0;
	case ARGP_KEY_ARG: return choose(s, arg);
	default: return ARGP_ERR_UNKNOWN;
	}
}

/* The build directory that holds this program as tests/bench/bench. */
static const char *own_build(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);

	if (n < 0)
		err(1, "/proc/self/exe");
	path[n] = '\0';
	return dirname(dirname(dirname(path)));
}

static const struct {
	const char *name;
	size_t member; /* of struct bench: where its path belongs */
} parts[] = {
	{"penumbra", offsetof(struct bench, penumbra)},
	{"tests/bench/bare", offsetof(struct bench, bare)},
	{"tests/bench/penumbra-timed", offsetof(struct bench, penumbra_timed)},
	{"tests/bench/bare-timed", offsetof(struct bench, bare_timed)},
	{"guest/hello", offsetof(struct bench, hello)},
	{"guest/solo5-hello", offsetof(struct bench, solo5)},
	{"guest/ports", offsetof(struct bench, ports)},
	{"guest/echo", offsetof(struct bench, idle)},
	{"guest/mmucost", offsetof(struct bench, mmucost)},
	{"guest/disk", offsetof(struct bench, disk)},
	{"guest/memory", offsetof(struct bench, memory)},
	{"guest/clock", offsetof(struct bench, clock)},
};

#define PART_COUNT (sizeof(parts) / sizeof(*parts))

static void find_parts(struct bench *b, const char *build, char paths[PART_COUNT][PATH_MAX])
{
	for (size_t i = 0; i < PART_COUNT; i++) {
		int n = snprintf(paths[i], PATH_MAX, "%s/%s", build, parts[i].name);

		if (n >= PATH_MAX || access(paths[i], R_OK))
			err(1, "%s", paths[i]);
		*(const char **)((char *)b + parts[i].member) = paths[i];
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = on_key, .args_doc = "[BENCHMARK…]",
		.doc = "Measure all of launch, port-exit, memory, density, shadow, solo5, disk, disk-guest, fault, snapshot, "
			"checkpoint, clone, scavenger, ksm, recording and reverse, or those that are named.",
	};
	struct settings s = {.bench = {.runs = DEFAULT_RUNS, .mib = DEFAULT_MIB}};
	char own[PATH_MAX], paths[PART_COUNT][PATH_MAX];
	struct report report = {.count = 0};

	if (argp_parse(&argp, argc, argv, 0, NULL, &s))
		return 1;
	find_parts(&s.bench, s.build ? s.build : own_build(own, sizeof(own)), paths);
	for (size_t i = 0; i < BENCHMARK_COUNT; i++)
		if (s.chosen[i] || !s.some_chosen)
			benchmarks[i].run(&s.bench, &report);
	if (s.json)
		report_json(&report);
	else
		report_table(&report);
	return s.check && !report_kept(&report) ? 3 : 0;
}
