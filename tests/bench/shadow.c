/*
 * The shadow mode: what its traps cost beside a bare event of ring 3, what computing costs beside
 * direct mode, and what memory its tables take. Guests run in this process, so that time is read at
 * the marks they set (compare/marks.h). It is processor time: nothing here waits, and on a busy
 * host wall time is mostly that of others.
 */
#include <err.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "compare/marks.h"
#include "ept/ept.h"
#include "ept/host_mmu.h"
#include "guest/lib/mmucost.h"
#include "shadow/shadow.h"
#include "tests/bench/bare_event.h"
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define ROUNDS 11
#define TARGET_TRAP 1.3
#define TARGET_SAME 1.05 /* the noise of a shared host */
#define TARGET_MEMORY_PERCENT 1
#define PAGE_KIB 4
#define PAGES_PER_TABLE 512

struct trap {
	const char *what, *operation;
	unsigned int count;
	enum bare_event event;
	bool refill; /* KVM has a page to fill in as well */
	double target;
};

static const struct trap traps[] = {
	{"hidden fault", "kernel-touch-clear", 256, BARE_FAULT, true, TARGET_TRAP},
	{"trapped table write", "table-write", 128, BARE_FAULT, false, TARGET_TRAP},
	{"privileged instruction", "privileged", 200, BARE_PROTECTION, false, TARGET_TRAP},
	{"CR3 load between cached spaces", "switch", 200, BARE_PROTECTION, false, 0},
	{"INVLPG", "invlpg", 200, BARE_PROTECTION, false, 0},
	{"half a system call", "syscall", 100, BARE_INT, false, 0},
};

#define TRAPS (sizeof(traps) / sizeof(*traps))

/* µs from begin to end of an operation, and exits. */
static double run(const struct bench *b, const struct kvm *k, const struct mmu_ops *mmu, const char *operation,
		  unsigned int count, uint64_t *exits)
{
	const struct mark *begin, *end;
	struct image image;
	struct marks marks;
	char arguments[64];

	snprintf(arguments, sizeof(arguments), "%s %u", operation, count);
	if (image_open(&image, b->mmucost))
		exit(1);
	if (marks_run(&(struct marks_config){.kvm = k, .mmu = mmu, .image = &image, .arguments = arguments}, &marks))
		errx(1, "mmucost %s with --mmu=%s: %s", arguments, mmu->name, marks.why);
	image_close(&image);
	begin = marks_find(&marks, MMUCOST_BEGIN);
	end = marks_find(&marks, MMUCOST_END);
	if (!begin || !end)
		errx(1, "mmucost %s set no marks", arguments);
	*exits = mark_exits_between(begin, end);
	return (double)mark_ns_between(begin, end) / 1e3;
}

/* Marks are exits as well, so it is divided by all of them. */
static double trap_us(const struct bench *b, const struct kvm *k, const struct trap *t)
{
	uint64_t exits;
	double us = run(b, k, &shadow_mmu, t->operation, t->count, &exits);

	if (exits < t->count)
		errx(1, "mmucost %s: %" PRIu64 " exits for %u operations", t->operation, exits, t->count);
	return us / (double)exits;
}

static void time_traps(const struct bench *b, const struct kvm *k, bool judge, struct report *r)
{
	struct series s[TRAPS];

	for (unsigned int t = 0; t < TRAPS; t++)
		s[t] = series_new(ROUNDS);
	for (unsigned int i = 0; i < ROUNDS; i++)
		for (unsigned int t = 0; t < TRAPS; t++) {
			s[t].ours[i] = trap_us(b, k, &traps[t]);
			s[t].floor[i] = bare_event_us(k, traps[t].event);
			if (traps[t].refill)
				s[t].floor[i] += bare_refill_us(k);
		}
	for (unsigned int t = 0; t < TRAPS; t++)
		series_report(&s[t], r, (struct line){.what = traps[t].what, .unit = "µs",
						      .target = judge ? traps[t].target : 0, .target_is = TARGET_OF_RATIO});
}

static void time_computing(const struct bench *b, const struct kvm *k, const char *operation, unsigned int count,
			   struct report *r, struct line line)
{
	struct series s = series_new(ROUNDS);
	uint64_t exits;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		s.ours[i] = run(b, k, &shadow_mmu, operation, count, &exits) / 1e3;
		s.floor[i] = run(b, k, &ept_mmu, operation, count, &exits) / 1e3;
	}
	series_report(&s, r, line);
}

/* KiB that the program has to itself after its guest has touched so many pages. */
static double private_kib(const struct bench *b, const char *pages)
{
	int fd = memfd_create("statistics", 0);
	char stats[64];
	const char *const argv[] = {b->penumbra, "run", "--mmu=shadow", "--mem=256M", stats, b->mmucost, "--",
				    "touch", pages, NULL};
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	struct child c;
	json_t *j;
	double kib;

	if (!f)
		err(1, "memfd_create");
	snprintf(stats, sizeof(stats), "--stats=/proc/self/fd/%d", fd);
	c = child_start(argv, NULL);
	child_finish(&c);
	j = json_loadf(f, 0, NULL);
	kib = json_number_value(json_object_get(j, "vmm_private_kib"));
	if (kib <= 0)
		errx(1, "no statistics of a guest that touched %s pages", pages);
	json_decref(j);
	fclose(f);
	return kib;
}

/* What grows with the pages mapped, beyond a page for each of the guest's tables. */
static void weigh(const struct bench *b, struct report *r)
{
	const double pages = 32768 - 512;
	double percent[ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		double kib = private_kib(b, "32768") - private_kib(b, "512");

		percent[i] = 100 * (kib / PAGE_KIB - pages / PAGES_PER_TABLE) / pages;
	}
	report_add(r, (struct line){.what = "memory of the shadow beyond a page a table, of memory mapped", .unit = "%",
				    .target = TARGET_MEMORY_PERCENT, .ours = spread_of_values(percent, ROUNDS)});
}

void bench_shadow(const struct bench *b, struct report *r)
{
	bool interpreted = host_mmu_detect("").ring0_interpreted, emulated = getenv("PENUMBRA_LAB") != NULL;
	struct kvm k;

	if (kvm_open(&k) < 0 || vcpu_init_process() < 0)
		exit(1);
	time_traps(b, &k, interpreted, r);
	time_computing(b, &k, "compute", 20000, r, (struct line){
		.what = "computing in ring 3", .unit = "ms, floor: --mmu=ept", .target = emulated ? 0 : TARGET_SAME,
		.target_is = TARGET_OF_RATIO});
	time_computing(b, &k, "kernel-compute", 20, r, (struct line){
		.what = "computing in ring 0", .unit = "ms, floor: --mmu=ept", .target = interpreted ? 1 : 0,
		.target_is = TARGET_OF_RATIO});
	weigh(b, r);
	kvm_close(&k);
}
