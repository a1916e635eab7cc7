/*
 * How long somebody at gdb waits who goes backwards in a recording of 10 s: for a step back from within a thousand instructions of an access,
 * and for going back all the way, to a breakpoint, or to a watchpoint, at its beginning.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/gdb_peer.h"
#include "tests/bench/report.h"
#include "tests/unit/random.h"
#include "vmm/watchdog.h"

#define DIRECTORY "/tmp/penumbra-bench-reverse"
#define SOCKET DIRECTORY "/gdb"
#define STEPS 15u
#define WAYS 3u
#define RIP 256 /* where it begins in an answer to `g` */

static const struct work {
	const char *name;
	size_t image; /* in struct bench */
	const char *words[2];
} works[] = {
	{"three threads that compute, 100 Hz", offsetof(struct bench, clock), {"1000", "100"}},
	{"port reads and nothing else", offsetof(struct bench, mmucost), {"port-in", "300000"}},
};

static double ask_us(struct gdb_peer *p, const char *packet)
{
	uint64_t start = watchdog_now();

	gdb_peer_ask(p, packet);
	return (double)(watchdog_now() - start) / 1000;
}

static void make_recording(const struct bench *b, const struct work *w)
{
	const char *const argv[] = {b->penumbra, "run", "--record=" DIRECTORY, *(const char *const *)((const char *)b + w->image), "--",
				    w->words[0], w->words[1], NULL};
	struct child c;

	if (system("rm -rf " DIRECTORY))
		errx(1, "%s: cannot be removed", DIRECTORY);
	c = child_start(argv, NULL);
	child_finish(&c);
}

static struct child start_debugger(const struct bench *b, struct gdb_peer *p)
{
	const char *const argv[] = {b->penumbra, "replay", "--gdb=unix:" SOCKET, DIRECTORY, NULL};
	const struct child_options quiet = {.quiet = true};
	struct child child = child_start(argv, &quiet);

	gdb_peer_open(p, SOCKET);
	return child;
}

static void go_to(struct gdb_peer *p, uint64_t position)
{
	char text[40];

	snprintf(text, sizeof(text), "goto %lu", (unsigned long)position);
	gdb_peer_monitor(p, text, NULL, 0);
}

static uint64_t last_position(struct gdb_peer *p)
{
	unsigned long position;
	char said[100];

	gdb_peer_ask(p, "c");
	gdb_peer_monitor(p, "position", said, sizeof(said));
	if (sscanf(said, "%*[^0-9]%lu", &position) != 1)
		errx(1, "no position in '%s'", said);
	return position;
}

static void steps_back(struct gdb_peer *p, double us[STEPS], uint64_t last, struct random *r)
{
	for (unsigned int i = 0; i < STEPS; i++) {
		go_to(p, random_below(r, last));
		for (uint64_t steps = random_below(r, 1000); steps--;)
			gdb_peer_ask(p, "s");
		us[i] = ask_us(p, "bs");
	}
}

/* From the end, with this point at the beginning. */
static void ways_back(struct gdb_peer *p, double us[WAYS], uint64_t last, const char *point)
{
	char remove[40];

	snprintf(remove, sizeof(remove), "z%s", point + 1);
	for (unsigned int i = 0; i < WAYS; i++) {
		go_to(p, 0);
		gdb_peer_ask(p, point);
		go_to(p, last);
		us[i] = ask_us(p, "bc");
		gdb_peer_ask(p, remove);
	}
}

/* `what` stays, as the report has it. */
static void add(struct report *r, const struct work *w, const char *did, double *us, unsigned int n, double target_us)
{
	char *what;

	if (asprintf(&what, "%s: %s", w->name, did) < 0)
		errx(1, "out of memory");
	report_add(r, (struct line){
		.what = what, .unit = "µs", .ours = spread_of_values(us, n), .target = target_us, .target_is = TARGET_TIME});
}

/* Where the guest stands, as gdb writes addresses. */
static void ask_rip(struct gdb_peer *p, char text[17])
{
	gdb_peer_ask(p, "g");
	for (int i = 0; i < 8; i++)
		memcpy(text + 2 * i, p->data + RIP + 2 * (7 - i), 2);
	text[16] = '\0';
}

static void measure(const struct bench *b, struct report *r, const struct work *w)
{
	struct random random = {.state = 1};
	static struct gdb_peer p;
	double step[STEPS], way[WAYS];
	char begin[17], point[40];
	struct child child;
	uint64_t begun, last;

	make_recording(b, w);
	child = start_debugger(b, &p);
	ask_rip(&p, begin);
	begun = watchdog_now();
	last = last_position(&p);
	warnx("%s: %lu accesses, first time through in %.1f s", w->name, (unsigned long)last, (double)(watchdog_now() - begun) / 1e9);
	steps_back(&p, step, last, &random);
	add(r, w, "a step back", step, STEPS, 1e5);
	for (int is_watch = 0; is_watch < 2; is_watch++) {
		snprintf(point, sizeof(point), "Z%d,%s,%d", is_watch ? 2 : 0, begin, is_watch ? 8 : 1);
		ways_back(&p, way, last, point);
		add(r, w, is_watch ? "all the way back, a watchpoint" : "all the way back, a breakpoint", way, WAYS, 2e6);
	}
	gdb_peer_close(&p);
	child_stop(&child);
}

void bench_reverse(const struct bench *b, struct report *r)
{
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++)
		measure(b, r, &works[i]);
	if (system("rm -rf " DIRECTORY))
		errx(1, "%s: cannot be removed", DIRECTORY);
}
