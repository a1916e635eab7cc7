/*
 * What a guest gets out of a disk whose file the host has in its page cache: µs a read, beside the same reads of the file by this
 * process. The guest (guest/images/disk_measure.c) has a driver of its own, as short as one can be; a kernel's costs more.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ept/host_mmu.h"
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"
#include "tests/unit/random.h"

#define FILE_BYTES (64u << 20)
#define ROUNDS 7
#define BUFFER_BYTES (1u << 20)

struct pattern {
	const char *what;
	uint64_t size;
	unsigned int count, depth;
	bool random;
	double target; /* of the ratio, where KVM does not interpret the guest's driver */
};

static const struct pattern patterns[] = {
	{"guest's reads of 128 KiB, one by one", 131072, 1000, 1, false, 0},
	{"guest's reads of 128 KiB, 8 at once", 131072, 1000, 8, false, 1 / 0.9},
	{"guest's random reads of 4 KiB, one by one", 4096, 4000, 1, true, 0},
	{"guest's random reads of 4 KiB, 32 at once", 4096, 8000, 32, true, 1 / 0.5},
};

/* As the guest says it: "... at once: N us, ...". */
static double guest_us(const struct bench *b, const struct pattern *p, const char *path)
{
	char disk[80], measure[4][16], text[300] = "";
	const char *argv[] = {b->penumbra, "run", "--disk", disk, b->disk, "--", "measure", measure[0], measure[1], measure[2],
			      p->random ? "random" : NULL, NULL};
	unsigned long us;
	struct child c;
	const char *at;
	size_t used = 0;
	ssize_t n;

	snprintf(disk, sizeof(disk), "%s,ro", path);
	snprintf(measure[0], sizeof(measure[0]), "%u", (unsigned int)p->size);
	snprintf(measure[1], sizeof(measure[1]), "%u", p->count);
	snprintf(measure[2], sizeof(measure[2]), "%u", p->depth);
	c = child_start(argv, NULL);
	while (used < sizeof(text) - 1 && !strchr(text, '\n') && (n = read(c.output, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	child_finish(&c);
	at = strstr(text, "at once: ");
	if (!at || sscanf(at, "at once: %lu us", &us) != 1)
		errx(1, "the guest says '%s'", text);
	return (double)us / p->count;
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* With as many buffers as the guest has. */
static double host_us(const struct pattern *p, int fd, uint8_t *buffers)
{
	uint64_t places = FILE_BYTES / p->size;
	struct random r = {1};
	double start = now_us();

	for (unsigned int i = 0; i < p->count; i++) {
		uint64_t place = p->random ? random_below(&r, places) : i % places;

		if (pread(fd, buffers + i % p->depth * p->size, p->size, (off_t)(place * p->size)) != (ssize_t)p->size)
			err(1, "the disk's file");
	}
	return (now_us() - start) / p->count;
}

static int make_file(char *path, void *buffer, size_t size)
{
	int fd = mkstemp(path);

	memset(buffer, 0x5a, size);
	for (size_t at = 0; fd >= 0 && at < FILE_BYTES; at += size)
		if (write(fd, buffer, size) != (ssize_t)size)
			err(1, "%s", path);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

void bench_disk_guest(const struct bench *b, struct report *r)
{
	char path[] = "/tmp/penumbra-bench.XXXXXX";
	uint8_t *buffers = bench_alloc(1, BUFFER_BYTES);
	int fd = make_file(path, buffers, BUFFER_BYTES);
	bool interpreted = host_mmu_detect("").ring0_interpreted;

	for (size_t k = 0; k < sizeof(patterns) / sizeof(*patterns); k++) {
		const struct pattern *p = &patterns[k];
		struct series s = series_new(ROUNDS);

		for (unsigned int i = 0; i < ROUNDS; i++) {
			s.ours[i] = guest_us(b, p, path);
			s.floor[i] = host_us(p, fd, buffers);
		}
		series_report(&s, r, (struct line){.what = p->what, .unit = "us", .target = interpreted ? 0 : p->target,
						   .target_is = TARGET_OF_RATIO});
	}
	unlink(path);
	close(fd);
	free(buffers);
}
