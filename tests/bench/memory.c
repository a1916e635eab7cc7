/*
 * Memory beside guest RAM, of guests that wait for console input: what the monitor's process has
 * for itself (Private_Dirty of its smaps), and what the kernel spends.
 *
 * The kernel's share is what /proc/meminfo names as the kernel's, compared with the same before and
 * after: slabs, page tables, KVM's page tables, vmalloc (thread stacks and struct kvm are there)
 * and per-CPU memory. Pages that no line names are missing, three for each vCPU's shared area; what
 * is left when caches and programs are taken off total memory would have them too, but drowns them
 * in the noise of everything else that runs. For one guest even this is too coarse.
 */
#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"

#define MANY 100
#define MANY_TEXT "100"
#define ROUNDS 5
#define RAM_KIB (64u << 10)
#define TARGET_ONE_KIB 1024
#define TARGET_FURTHER_KIB 300
#define PATIENCE 300 /* looks at a process that does not settle */

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	f = fopen(path, "re");
	if (!f)
		err(1, "%s", path);
	return f;
}

/*
 * Seen from outside, guest RAM is writable memory without a file, in pieces as large as all RAM of
 * a guest or, where the kernel has merged neighbours, larger. Nothing else that the monitor maps
 * writable comes near.
 */
static bool is_guest_ram(uint64_t start, uint64_t end, const char *flags, uint64_t inode)
{
	return flags[1] == 'w' && !inode && end - start >= RAM_KIB * 1024ull;
}

struct mapping {
	bool counts;
	const char *field; /* of smaps: what is the process's own in it */
};

/*
 * A page of a file that nobody has written to since it was mapped is the page cache's, not ours,
 * however dirty: those of a program that was linked a moment ago, or of one in a RAM disk, always
 * are. There only copied pages count.
 */
static bool read_mapping(const char *line, struct mapping *m)
{
	uint64_t start, end, inode;
	char flags[8];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %" SCNu64, &start, &end, flags,
		   &inode) != 4)
		return false;
	m->counts = !is_guest_ram(start, end, flags, inode);
	m->field = inode && flags[3] == 'p' ? "Anonymous" : "Private_Dirty";
	return true;
}

static uint64_t private_kib(pid_t pid)
{
	struct mapping m = {.counts = false};
	FILE *f = open_proc(pid, "smaps");
	uint64_t kib, sum = 0;
	char line[512], name[64];

	while (fgets(line, sizeof(line), f)) {
		if (read_mapping(line, &m) || !m.counts)
			continue;
		if (sscanf(line, "%63[^:]: %" SCNu64, name, &kib) == 2 && !strcmp(name, m.field))
			sum += kib;
	}
	fclose(f);
	return sum;
}

static unsigned int threads(pid_t pid)
{
	FILE *f = open_proc(pid, "status");
	unsigned int n = 0;
	char line[256];

	while (fgets(line, sizeof(line), f) && sscanf(line, "Threads: %u", &n) != 1)
		;
	fclose(f);
	return n;
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

/*
 * All guests run, and the process has stopped growing: they wait for input that never comes. Newer
 * kernels show a thread of KVM's own in the process for each VM, so there may be more threads than
 * ours.
 */
static uint64_t settled_private_kib(const struct child *c, unsigned int guests)
{
	uint64_t last = 0, now;

	for (unsigned int i = 0; i < PATIENCE; i++) {
		pause_ms(100);
		now = private_kib(c->pid);
		if (threads(c->pid) >= guests + 1 && now == last)
			return now;
		last = now;
	}
	child_stop(c);
	errx(1, "%u guests did not come to rest", guests);
}

static double kernel_kib(void)
{
	static const char *const kernel[] = {"Slab", "PageTables", "SecPageTables", "VmallocUsed",
					     "Percpu"};
	FILE *f = fopen("/proc/meminfo", "re");
	char line[256], name[64];
	double sum = 0, kib;

	if (!f)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^:]: %lf", name, &kib) != 2)
			continue;
		for (size_t i = 0; i < sizeof(kernel) / sizeof(*kernel); i++)
			if (!strcmp(name, kernel[i]))
				sum += kib;
	}
	fclose(f);
	return sum;
}

struct reading {
	double private_kib, kernel_kib;
};

static struct reading measure(const char *const argv[], unsigned int guests)
{
	double before = kernel_kib(), during;
	struct child c = child_start(argv, &(struct child_options){.quiet = true});
	struct reading r = {.private_kib = (double)settled_private_kib(&c, guests)};

	during = kernel_kib();
	child_stop(&c);
	pause_ms(300); /* much of a VM is freed after a grace period */
	r.kernel_kib = during - (before + kernel_kib()) / 2;
	return r;
}

void bench_memory(const struct bench *b, struct report *r)
{
	const char *const one[] = {b->penumbra, "run", b->idle, NULL};
	const char *const many[] = {b->penumbra, "run", "--count", MANY_TEXT, b->idle, NULL};
	double alone[ROUNDS], further[ROUNDS], kernel[ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct reading all = measure(many, MANY);

		alone[i] = measure(one, 1).private_kib;
		further[i] = (all.private_kib - alone[i]) / (MANY - 1);
		kernel[i] = all.kernel_kib / MANY;
	}
	report_add(r, (struct line){
		.what = "private memory with one guest", .unit = "KiB",
		.target = TARGET_ONE_KIB, .ours = spread_of_values(alone, ROUNDS)});
	report_add(r, (struct line){
		.what = "private memory of each further guest, up to " MANY_TEXT, .unit = "KiB",
		.target = TARGET_FURTHER_KIB, .ours = spread_of_values(further, ROUNDS)});
	report_add(r, (struct line){
		.what = "kernel memory of each of " MANY_TEXT " guests", .unit = "KiB",
		.ours = spread_of_values(kernel, ROUNDS)});
}
