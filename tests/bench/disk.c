/*
 * Three ways from a file that the host has in its page cache to guest pages: a copy by way of a buffer, straight into the pages
 * (what a disk does), and the file's pages in place of them (what --disk FILE,remap does). Each with one look at every page, as
 * the guest would take, and over request sizes. What the guest's own faults cost is not in it: nested paging adds one for each
 * page that was remapped.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/report.h"
#include "vmm/disk.h"
#include "vmm/mem.h"
#include "vmm/remap.h"
#include "vmm/virtqueue.h"

#define FILE_BYTES (32u << 20)
#define RAM_BYTES (64ull << 20)
#define ROUNDS 15
#define BUFFER_BYTES (1u << 20)

struct ways {
	struct mem mem;
	struct disk disk;
	struct remap remap;
	uint8_t *buffer;
};

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void by_copy(struct ways *w, uint64_t gpa, uint64_t size)
{
	struct iovec v = {.iov_base = w->buffer, .iov_len = size};

	if (disk_read(&w->disk, &v, 1, gpa) < 0)
		errx(1, "the file cannot be read");
	memcpy(mem_at(&w->mem, gpa, size, MEM_WRITE), w->buffer, size);
}

static void directly(struct ways *w, uint64_t gpa, uint64_t size)
{
	struct iovec v = {.iov_base = mem_at(&w->mem, gpa, size, MEM_WRITE), .iov_len = size};

	if (disk_read(&w->disk, &v, 1, gpa) < 0)
		errx(1, "the file cannot be read");
}

static void by_remapping(struct ways *w, uint64_t gpa, uint64_t size)
{
	struct virtqueue_chain c = {.count = 1, .writable_bytes = size, .buffer[0] = {.gpa = gpa, .size = (uint32_t)size}};

	if (!remap_read(&w->remap, &c, size, gpa))
		errx(1, "the file cannot be remapped");
}

/* Reads all of the file, to the gpas of the same number, in requests of `size`: µs a request, with the looks. */
static double measure(struct ways *w, void (*way)(struct ways *, uint64_t, uint64_t), uint64_t size)
{
	uint64_t bytes = size < 65536 ? FILE_BYTES / 16 : FILE_BYTES; /* remapping has only so many pieces */
	volatile const uint8_t *ram = w->mem.region[0].hva;
	double start = now_us();

	for (uint64_t at = 0; at < bytes; at += size) {
		way(w, at, size);
		for (uint64_t page = at; page < at + size; page += PAGE_SIZE)
			(void)ram[page];
	}
	return (now_us() - start) / (double)(bytes / size);
}

static void make_ways(struct ways *w)
{
	int fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char path[40];

	w->buffer = bench_alloc(BUFFER_BYTES, 1);
	memset(w->buffer, 0x5a, BUFFER_BYTES);
	for (unsigned int i = 0; i < FILE_BYTES / BUFFER_BYTES; i++)
		if (write(fd, w->buffer, BUFFER_BYTES) != BUFFER_BYTES)
			err(1, "disk");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) || disk_open(&w->disk, path, DISK_REMAP) < 0 ||
	    mem_create(&w->mem, RAM_BYTES, MEM_HUGE_NEVER) < 0)
		errx(1, "no disk or no RAM");
	memset(w->mem.region[0].hva, 1, FILE_BYTES); /* a guest that has used its RAM before */
	remap_init(&w->remap, &w->mem, &w->disk);
	close(fd);
}

void bench_disk(const struct bench *b, struct report *r)
{
	static const struct {
		const char *what;
		uint64_t size;
		void (*way)(struct ways *, uint64_t, uint64_t);
	} cases[] = {
		{"read of 4 KiB by a copy", 4096, by_copy}, {"read of 4 KiB directly", 4096, directly},
		{"read of 4 KiB by remapping", 4096, by_remapping}, {"read of 64 KiB by a copy", 65536, by_copy},
		{"read of 64 KiB directly", 65536, directly}, {"read of 64 KiB by remapping", 65536, by_remapping},
		{"read of 1 MiB by a copy", 1u << 20, by_copy}, {"read of 1 MiB directly", 1u << 20, directly},
		{"read of 1 MiB by remapping", 1u << 20, by_remapping},
	};
	enum { CASES = sizeof(cases) / sizeof(*cases) };
	static double us[CASES][ROUNDS];
	struct ways w;

	/* All of them in turn, so that load which comes and goes meets all. Remapped pages stay mapped: they go last, and RAM is new. */
	for (unsigned int round = 0; round < ROUNDS; round++) {
		make_ways(&w);
		for (unsigned int remapping = 0; remapping < 2; remapping++)
			for (unsigned int i = 0; i < CASES; i++)
				if ((cases[i].way == by_remapping) == (remapping == 1))
					us[i][round] = measure(&w, cases[i].way, cases[i].size);
		remap_destroy(&w.remap);
		mem_destroy(&w.mem);
		disk_close(&w.disk);
		free(w.buffer);
	}
	for (unsigned int i = 0; i < CASES; i++)
		report_add(r, (struct line){.what = cases[i].what, .unit = "us", .ours = spread_of_values(us[i], ROUNDS)});
}
