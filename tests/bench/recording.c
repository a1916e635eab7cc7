/*
 * What it costs to be recorded, from process start to the end of the process, beside the same run that is not, and what a replay takes
 * beside the recording: for a guest that does nothing but accesses, one that does nothing but compute, and one that computes and has a
 * timer; and how many bytes of log an access (one byte of checks) or an event takes, asynchronous
 * points apart.
 */
#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"

#define WORDS_MOST 4
#define DIRECTORY "/tmp/penumbra-bench-recording"

/* The start of a recording is written and synced to the disk: long runs, so that it does not count. */
static const struct work {
	const char *name;
	size_t image; /* in struct bench */
	const char *words[WORDS_MOST];
	double target; /* of the recorded run */
} works[] = {
	{"20,000 port reads", offsetof(struct bench, mmucost), {"port-in", "20000"}, 1.05},
	{"computing", offsetof(struct bench, mmucost), {"compute", "1000000"}, 1.01},
	{"computing with a timer of 100 Hz", offsetof(struct bench, clock), {"100", "100"}, 0},
};

static void remove_recording(void)
{
	if (system("rm -rf " DIRECTORY))
		errx(1, "%s: cannot be removed", DIRECTORY);
}

static double whole_us(const char *const argv[])
{
	struct child c = child_start(argv, NULL);

	return child_finish(&c).exit_us;
}

static double run_us(const struct bench *b, const struct work *w, bool recorded)
{
	const char *argv[WORDS_MOST + 8] = {b->penumbra, "run"};
	size_t n = 2;

	if (recorded) {
		remove_recording();
		argv[n++] = "--record=" DIRECTORY;
	}
	memcpy(&argv[n++], (const char *)b + w->image, sizeof(*argv));
	argv[n++] = "--";
	for (size_t i = 0; i < WORDS_MOST && w->words[i]; i++)
		argv[n++] = w->words[i];
	return whole_us(argv);
}

static double replay_us(const struct bench *b)
{
	const char *const argv[] = {b->penumbra, "replay", DIRECTORY, NULL};

	return whole_us(argv);
}

/* Of the last recording. */
static double bytes_of_an_event(const struct bench *b)
{
	char command[300];
	FILE *f;
	json_t *o;
	double events, bytes;

	snprintf(command, sizeof(command), "%s inspect --json " DIRECTORY, b->penumbra);
	f = popen(command, "r");
	o = f ? json_loadf(f, 0, NULL) : NULL;
	if (!o || pclose(f))
		errx(1, "%s: cannot be inspected", DIRECTORY);
	events = (double)(json_integer_value(json_object_get(o, "ends")) - json_integer_value(json_object_get(o, "begins")));
	for (void *i = json_object_iter(json_object_get(o, "events")); i; i = json_object_iter_next(json_object_get(o, "events"), i))
		if (!strstr("page state checks", json_object_iter_key(i)))
			events += (double)json_integer_value(json_object_iter_value(i));
	bytes = (double)(json_integer_value(json_object_get(o, "bytes")) - json_integer_value(json_object_get(o, "packed_bytes")));
	json_decref(o);
	return bytes / events;
}

static void measure(const struct bench *b, struct report *r, const struct work *w)
{
	unsigned int runs = b->runs / 5 + 1;
	struct series recorded = series_new(runs), replayed = series_new(runs);
	static char what[sizeof(works) / sizeof(*works)][3][100];
	size_t n = (size_t)(w - works);
	double each;

	for (unsigned int i = 0; i < runs; i++) {
		recorded.floor[i] = run_us(b, w, false);
		recorded.ours[i] = replayed.floor[i] = run_us(b, w, true);
		replayed.ours[i] = replay_us(b);
	}
	each = bytes_of_an_event(b);
	snprintf(what[n][0], sizeof(what[n][0]), "%s, recorded (floor: not recorded)", w->name);
	snprintf(what[n][1], sizeof(what[n][1]), "%s, replayed (floor: recorded)", w->name);
	snprintf(what[n][2], sizeof(what[n][2]), "%s: log of an access or event", w->name);
	series_report(&recorded, r, (struct line){.what = what[n][0], .unit = "µs", .target = w->target, .target_is = TARGET_OF_RATIO});
	series_report(&replayed, r, (struct line){.what = what[n][1], .unit = "µs", .target = 1, .target_is = TARGET_OF_RATIO});
	report_add(r, (struct line){.what = what[n][2], .unit = "bytes", .ours = {.median = each, .min = each, .max = each, .n = 1}});
}

void bench_recording(const struct bench *b, struct report *r)
{
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++)
		measure(b, r, &works[i]);
	remove_recording();
}
