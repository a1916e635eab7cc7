#include "tests/bench/yard.h"

#include <dirent.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/control.h"
#include "tests/bench/stopwatch.h"
#include "tests/bench/yardstick.h"

#define MAX_WORDS 48
#define FILL_MS 300000
#define LOOK_MS 20 /* as often as at KSM (ksm_peer.c) */
#define QUIET_S 5.0
#define LAB_LOOK_MS 200 /* looking takes the guests' time, and there it takes much */
#define LAB_QUIET_S 12.0
#define PATIENCE_S 300.0

static void on_line(struct yard *y)
{
	unsigned int guest;
	double rounds;

	if (strstr(y->line, " pages filled")) {
		y->filled++;
	} else if (sscanf(y->line, "%u: round %lf:", &guest, &rounds) != 2 || guest >= YARDSTICK_GUESTS) {
		errx(1, "a guest says '%s'", y->line);
	} else {
		y->rounds[guest] = rounds;
		if (guest == 0)
			y->at_us = stopwatch_us();
	}
}

static void on_byte(struct yard *y, char byte)
{
	if (byte != '\n') {
		if (y->length < sizeof(y->line) - 1)
			y->line[y->length++] = byte;
		return;
	}
	y->line[y->length] = '\0';
	on_line(y);
	y->length = 0;
}

/* Takes in what is said until then. */
static void listen_for(struct yard *y, double ms)
{
	double end_us = stopwatch_us() + ms * 1e3;

	for (;;) {
		double left_ms = (end_us - stopwatch_us()) / 1e3;
		struct pollfd p = {.fd = y->child.output, .events = POLLIN};
		char text[4096];
		ssize_t n;

		if (left_ms <= 0 || poll(&p, 1, (int)left_ms + 1) == 0)
			return;
		n = read(p.fd, text, sizeof(text));
		if (n <= 0)
			errx(1, "the guests have ended too soon");
		for (ssize_t i = 0; i < n; i++)
			on_byte(y, text[i]);
	}
}

static void await_filled(struct yard *y)
{
	for (unsigned int ms = 0; y->filled < YARDSTICK_GUESTS; ms += 10) {
		if (ms > FILL_MS)
			errx(1, "the guests do not get going");
		listen_for(y, 10);
	}
	while (!y->rounds[0] || !y->rounds[1])
		listen_for(y, 10);
}

/* Processor time that a thread has had. */
static double thread_us(const struct yard *y, int tid)
{
	char path[60];
	double ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)y->child.pid, tid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%lf", &ns) != 1)
		errx(1, "%s: not as expected", path);
	fclose(f);
	return ns / 1e3;
}

/* Those that have worked most until now: filling so much memory takes more than anything else. */
static void find_vcpus(struct yard *y)
{
	double most[YARDSTICK_GUESTS] = {0};
	const struct dirent *e;
	char path[40];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)y->child.pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int tid = atoi(e->d_name), least = most[0] <= most[1] ? 0 : 1;
		double us = tid ? thread_us(y, tid) : 0;

		if (us > most[least]) {
			most[least] = us;
			y->vcpu[least] = tid;
		}
	}
	if (d)
		closedir(d);
}

void yard_start(struct yard *y, const struct bench *b, const char *scavenge, const char *words)
{
	char mem[20], option[120], copy[200];
	const char *argv[MAX_WORDS] = {b->penumbra, "run", "--count=2", mem, "--control", y->control_path};
	int n = 6;

	*y = (struct yard){.directory = "/tmp/penumbra-bench.XXXXXX"};
	if (!mkdtemp(y->directory))
		err(1, "%s", y->directory);
	snprintf(y->control_path, sizeof(y->control_path), "%s/control", y->directory);
	snprintf(mem, sizeof(mem), "--mem=%uM", b->mib);
	snprintf(option, sizeof(option), "--scavenge=%s%soff", scavenge ? scavenge : "", scavenge && *scavenge ? "," : "");
	snprintf(copy, sizeof(copy), "%s", words);
	if (scavenge)
		argv[n++] = option;
	argv[n++] = b->memory;
	argv[n++] = "--";
	for (char *word = strtok(copy, " "); word && n < MAX_WORDS - 1; word = strtok(NULL, " "))
		argv[n++] = word;
	y->child = child_start(argv, &(struct child_options){.quiet = true});
	y->control = control_connect(y->control_path);
	await_filled(y);
	find_vcpus(y);
	y->host_kib = yard_host_kib(y);
}

void yard_stop(struct yard *y)
{
	close(y->control);
	child_stop(&y->child);
	unlink(y->control_path);
	rmdir(y->directory);
}

void yard_scavenge(struct yard *y, bool on)
{
	control_tell(y->control, on ? "scavenge on" : "scavenge off");
}

static double number(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_number(value))
		errx(1, "no '%s' in the statistics", name);
	return json_number_value(value);
}

static double worse(double a, double b)
{
	return a > b ? a : b;
}

static void add_guest(struct yard_stats *s, const json_t *scavenger)
{
	s->saved_kib += number(scavenger, "saved_kib");
	s->metadata_kib += number(scavenger, "metadata_kib");
	s->cpu_s += number(scavenger, "cpu_us") / 1e6;
	s->refaults += number(scavenger, "refaults");
	s->median_us = worse(s->median_us, number(scavenger, "median_ns") / 1e3);
	s->p99_us = worse(s->p99_us, number(scavenger, "p99_ns") / 1e3);
	s->p999_us = worse(s->p999_us, number(scavenger, "p999_ns") / 1e3);
}

struct yard_stats yard_stats(struct yard *y)
{
	json_t *answer = control_ask(y->control, "stats"), *guest;
	struct yard_stats s = {0};
	size_t i;

	json_array_foreach(json_object_get(answer, "guests"), i, guest)
		add_guest(&s, json_object_get(guest, "scavenger"));
	json_decref(answer);
	return s;
}

struct course yard_follow(struct yard *y)
{
	double start_us = stopwatch_us(), start_cpu_s = yard_stats(y).cpu_s, s = 0;
	bool in_lab = getenv("PENUMBRA_LAB");
	struct course c = {NULL, 0, 0};

	yard_scavenge(y, true);
	while (s < PATIENCE_S) {
		struct yard_stats now;

		listen_for(y, in_lab ? LAB_LOOK_MS : LOOK_MS);
		now = yard_stats(y);
		s = (stopwatch_us() - start_us) / 1e6;
		course_add(&c, (struct moment){s, now.cpu_s - start_cpu_s, now.saved_kib});
		if (now.saved_kib > 0 && course_is_at_rest(&c, in_lab ? LAB_QUIET_S : QUIET_S))
			return c;
	}
	errx(1, "the scavenger does not come to rest");
}

static double vcpus_us(const struct yard *y)
{
	return thread_us(y, y->vcpu[0]) + thread_us(y, y->vcpu[1]);
}

struct yard_round yard_round(struct yard *y, long ms)
{
	double rounds[YARDSTICK_GUESTS], at_us, cpu_us;
	struct yard_round r;

	listen_for(y, 1); /* what is late */
	memcpy(rounds, y->rounds, sizeof(rounds));
	at_us = y->at_us;
	cpu_us = vcpus_us(y);
	listen_for(y, (double)ms);
	while (y->rounds[0] == rounds[0])
		listen_for(y, 10);
	r.wall_us = (y->at_us - at_us) / (y->rounds[0] - rounds[0]);
	r.cpu_us = (vcpus_us(y) - cpu_us) / (y->rounds[0] - rounds[0] + y->rounds[1] - rounds[1]);
	return r;
}

double yard_host_kib(const struct yard *y)
{
	char path[60], line[200];
	double kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)y->child.pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Pss: %lf", &kib) != 1)
		;
	if (f)
		fclose(f);
	if (kib < 0)
		errx(1, "%s: not as expected", path);
	return kib;
}
