/*
 * Saving a guest and having it go on: how long it stands still for a snapshot of all its RAM and for a checkpoint of what it
 * has written, how long the request takes, and how long a process takes from its start to the guest's next words. Beside the
 * least that can be: a plain copy of the same bytes, a plain write and sync of them to the same file system, a plain read, a
 * bare mmap, and what the bare program takes to its guest's first word; and beside QEMU's migration to a file of a guest of the
 * same size.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/qemu_save.h"
#include "tests/bench/report.h"
#include "tests/bench/saved_guest.h"
#include "tests/bench/series.h"
#include "tests/bench/stopwatch.h"

#define PAGE 4096.0
#define PAUSE_US 1000
#define FULL_US_A_PAGE 0.2  /* protected */
#define DIRTY_US_A_PAGE 0.4 /* copied */
#define CHECKPOINT_MS 40u    /* two rounds of the guest's */
#define MAPPED_US 5000
#define INCREMENTS 12u	     /* of each guest */
#define PATIENCE 600	     /* tenths of a second for them */

struct bytes {
	uint8_t *from, *to;
	size_t size;
};

/* Touched, both of them. */
static struct bytes make_bytes(const struct bench *b)
{
	struct bytes bytes = {.size = (size_t)b->mib << 20};

	bytes.from = bench_alloc(1, bytes.size);
	bytes.to = bench_alloc(1, bytes.size);
	memset(bytes.from, 0x5a, bytes.size);
	memset(bytes.to, 0xa5, bytes.size);
	return bytes;
}

static void free_bytes(struct bytes *b)
{
	free(b->from);
	free(b->to);
}

static double copy_us(const struct bytes *b, double pages)
{
	double start = stopwatch_us();

	memcpy(b->to, b->from, (size_t)(pages * PAGE));
	return stopwatch_us() - start;
}

static double write_us(const struct bytes *b, const char *path, double pages)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t size = (size_t)(pages * PAGE);
	double start = stopwatch_us();

	for (size_t at = 0; at < size;) {
		ssize_t n = write(fd, b->from + at, size - at);

		if (n <= 0)
			err(1, "%s", path);
		at += (size_t)n;
	}
	if (fsync(fd))
		err(1, "%s", path);
	close(fd);
	start = stopwatch_us() - start;
	unlink(path);
	return start;
}

static double read_us(const struct bytes *b, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	double start = stopwatch_us();

	for (size_t at = 0; at < b->size;) {
		ssize_t n = pread(fd, b->to + at, b->size - at, (off_t)at);

		if (n <= 0)
			err(1, "%s", path);
		at += (size_t)n;
	}
	close(fd);
	return stopwatch_us() - start;
}

static double map_us(const struct bytes *b, const char *path)
{
	double start = stopwatch_us();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		err(1, "%s", path);
	start = stopwatch_us() - start;
	munmap(p, b->size);
	close(fd);
	return start;
}

/*
 * Most of its RAM is full of pages that are all different, and `hot` further ones it writes every `pause` ticks. every_ms 0: no
 * checkpoints.
 */
static void start_guest(struct saved_guest *g, const struct bench *b, unsigned int every_ms, unsigned int hot, unsigned int pause)
{
	char words[400], checkpoints[140] = "", path[80];

	saved_guest_make(g, b);
	if (every_ms)
		snprintf(checkpoints, sizeof(checkpoints), "--checkpoint %s --checkpoint-every %u ",
			 saved_guest_path(g, "checkpoints", path), every_ms);
	/* A part of its RAM is left for tables and what is hot. */
	snprintf(words, sizeof(words), "--mem %uM %s%s -- cold=%u hot=%u rounds=0 pause=%u", b->mib, checkpoints, b->memory,
		 b->mib * 220 - 8000, hot, pause);
	saved_guest_start(g, words, NULL);
}

static void full(const struct bench *b, const struct bytes *bytes, unsigned int rounds, struct report *r)
{
	struct series pause = series_new(rounds), answer = series_new(rounds), qemu = series_new(rounds);
	bool has_qemu = qemu_save_can();
	struct saved_guest g;
	char path[80];

	start_guest(&g, b, 0, 0, 10);
	for (unsigned int i = 0; i < rounds; i++) {
		struct saved_pause p = saved_guest_save(&g, "s");

		saved_guest_drop(&g, "s");
		pause.ours[i] = p.pause_us;
		answer.ours[i] = qemu.ours[i] = p.answer_us / 1e3;
		pause.floor[i] = copy_us(bytes, p.pages);
		answer.floor[i] = write_us(bytes, saved_guest_path(&g, "plain", path), p.pages) / 1e3;
		if (has_qemu)
			qemu.floor[i] = qemu_save_ms(b->mib, saved_guest_path(&g, "qemu", path));
	}
	saved_guest_stop(&g);
	saved_guest_remove(&g);
	series_report(&pause, r, (struct line){.what = "pause for a snapshot of all (floor: copy of its pages)", .unit = "µs",
		.target = PAUSE_US + FULL_US_A_PAGE * b->mib * 256, .target_is = TARGET_TIME});
	series_report(&answer, r, (struct line){
		.what = "snapshot of all, to its answer (floor: write and sync of its pages)", .unit = "ms"});
	if (has_qemu)
		series_report(&qemu, r, (struct line){.what = qemu_save_what(), .unit = "ms"});
}

/*
 * Those of a guest that has filled its RAM, and now writes no more than that. Until there are as many as are wanted, however
 * long it takes.
 */
static unsigned int await_increments(const struct saved_guest *g, unsigned int hot, struct saved_pause *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PATIENCE && n < INCREMENTS; i++) {
		stopwatch_pause_ms(100);
		n = saved_guest_increments(g, hot, hot * 1.2 + 50, p, INCREMENTS);
	}
	if (n < INCREMENTS)
		errx(1, "%s: only %u checkpoints in it", g->log, n);
	return n;
}

static const unsigned int dirtied[] = {1, 250, 1000, 4000, 8000};

#define DIRTIED (sizeof(dirtied) / sizeof(*dirtied))

/* By least squares. */
static void line_through(const double *x, const double *y, unsigned int n, double *slope, double *constant)
{
	double mx = 0, my = 0, xx = 0, xy = 0;

	for (unsigned int i = 0; i < n; i++) {
		mx += x[i] / n;
		my += y[i] / n;
		xx += x[i] * x[i] / n;
		xy += x[i] * y[i] / n;
	}
	*slope = (xy - mx * my) / (xx - mx * mx);
	*constant = my - *slope * mx;
}

/* A guest that writes so many pages. Returns the median of its pauses. */
static double measure_increments(const struct bench *b, const struct bytes *bytes, unsigned int hot, double *pauses,
				 double *floor)
{
	struct saved_pause p[INCREMENTS];
	double us[INCREMENTS];
	struct saved_guest g;

	start_guest(&g, b, CHECKPOINT_MS, hot, 2);
	await_increments(&g, hot, p);
	saved_guest_stop(&g);
	saved_guest_remove(&g);
	for (unsigned int n = 0; n < INCREMENTS; n++) {
		us[n] = pauses[n] = p[n].pause_us;
		floor[n] = copy_us(bytes, p[n].pages);
	}
	return spread_of_values(us, INCREMENTS).median;
}

/* One guest for each number of pages, one after the other; and the line through their medians. */
static void measure_all(const struct bench *b, const struct bytes *bytes, struct series *s, unsigned int round, double *slope,
			double *constant)
{
	double pages[DIRTIED], us[DIRTIED];

	for (size_t i = 0; i < DIRTIED; i++) {
		size_t at = (size_t)round * INCREMENTS;

		pages[i] = dirtied[i];
		us[i] = measure_increments(b, bytes, dirtied[i], s[i].ours + at, s[i].floor + at);
	}
	line_through(pages, us, DIRTIED, slope, constant);
}

static void increments(const struct bench *b, const struct bytes *bytes, unsigned int rounds, struct report *r)
{
	static const char *const what[DIRTIED] = {
		"pause for a checkpoint, a page written (floor: copy)", "pause for a checkpoint, 250 pages written (floor: copy)",
		"pause for a checkpoint, 1,000 pages written (floor: copy)",
		"pause for a checkpoint, 4,000 pages written (floor: copy)",
		"pause for a checkpoint, 8,000 pages written (floor: copy)",
	};
	double *a_page = bench_alloc(rounds, sizeof(double)), *constant = bench_alloc(rounds, sizeof(double));
	struct series s[DIRTIED];

	for (size_t i = 0; i < DIRTIED; i++)
		s[i] = series_new(rounds * INCREMENTS);
	for (unsigned int round = 0; round < rounds; round++)
		measure_all(b, bytes, s, round, &a_page[round], &constant[round]);
	for (size_t i = 0; i < DIRTIED; i++)
		series_report(&s[i], r, (struct line){.what = what[i], .unit = "µs",
			.target = PAUSE_US + DIRTY_US_A_PAGE * dirtied[i], .target_is = TARGET_TIME});
	report_add(r, (struct line){.what = "the line through these: for each page", .unit = "µs",
				     .ours = spread_of_values(a_page, rounds), .target = DIRTY_US_A_PAGE, .target_is = TARGET_TIME});
	report_add(r, (struct line){.what = "the line through these: constant", .unit = "µs",
				     .ours = spread_of_values(constant, rounds), .target = PAUSE_US, .target_is = TARGET_TIME});
	free(a_page);
	free(constant);
}

/* How a guest is brought back. */
static const struct kind {
	const char *what, *command, *option;
	const char *over; /* NULL, or: what it takes longer than the floor is to be at most MAPPED_US */
} kinds[] = {
	{"restore, to the guest's next words (floor: bare launch)", "restore", NULL, NULL},
	{"the same, --ram=lazy", "restore", "--ram=lazy", NULL},
	{"the same, --ram=mapped", "restore", "--ram=mapped", "the same, --ram=mapped, over the floor"},
	{"clone --count 1, to the guest's next words (floor: bare launch)", "clone", NULL, NULL},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* The guest says something all the time. */
static double bring_back_us(const struct bench *b, const struct kind *k, const char *path)
{
	const char *const argv[] = {b->penumbra, k->command, k->option ? k->option : path, k->option ? path : NULL, NULL};
	struct child c = child_start(argv, NULL);
	double us = child_first_byte_us(&c);

	child_stop(&c);
	return us;
}

static void report_kind(const struct kind *k, struct series *s, struct report *r)
{
	double *over = bench_alloc(s->n, sizeof(double));
	unsigned int n = s->n;

	for (unsigned int i = 0; i < n; i++)
		over[i] = s->ours[i] - s->floor[i];
	series_report(s, r, (struct line){.what = k->what, .unit = "µs"});
	if (k->over)
		report_add(r, (struct line){.what = k->over, .unit = "µs", .ours = spread_of_values(over, n),
					     .target = MAPPED_US, .target_is = TARGET_TIME});
	free(over);
}

static void restores(const struct bench *b, const struct bytes *bytes, unsigned int rounds, struct report *r)
{
	const char *const bare[] = {b->bare, b->hello, NULL};
	struct series s[KINDS], plain = series_new(rounds);
	struct saved_guest g;
	char path[80], memory[80];

	for (size_t i = 0; i < KINDS; i++)
		s[i] = series_new(rounds);
	start_guest(&g, b, 0, 0, 0);
	saved_guest_save(&g, "s");
	saved_guest_stop(&g);
	saved_guest_path(&g, "s", path);
	saved_guest_path(&g, "s/memory", memory);
	for (unsigned int n = 0; n < rounds; n++) {
		for (size_t i = 0; i < KINDS; i++) {
			s[i].ours[n] = bring_back_us(b, &kinds[i], path);
			s[i].floor[n] = child_time(bare).first_byte_us;
		}
		plain.ours[n] = read_us(bytes, memory);
		plain.floor[n] = map_us(bytes, memory);
	}
	saved_guest_remove(&g);
	for (size_t i = 0; i < KINDS; i++)
		report_kind(&kinds[i], &s[i], r);
	series_report(&plain, r, (struct line){
		.what = "for comparison: plain read of its RAM (floor: plain mmap)", .unit = "µs"});
}

void bench_snapshot(const struct bench *b, struct report *r)
{
	struct bytes bytes = make_bytes(b);

	full(b, &bytes, b->runs / 10 + 1, r);
	increments(b, &bytes, b->runs / 50 + 1, r);
	restores(b, &bytes, b->runs / 10 + 1, r);
	free_bytes(&bytes);
}
