/*
 * What it costs to wait for a page: one that is brought in from memory when it is touched, and one that is copied away before it
 * is written. Beside the least that can be: a thread that polls, reads the fault and answers it. Then pages brought in ahead, 64
 * at a time, beside one UFFDIO_COPY for as many. Touched by a thread of this process; a guest adds its exit to both.
 */
#include <err.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests/bench/bare_fault.h"
#include "tests/bench/bench.h"
#include "tests/bench/report.h"
#include "tests/bench/series.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"
#include "vmm/userfault.h"

#define PAGES 512u
#define BYTES (PAGES * PAGE_SIZE)
#define ROUNDS 41u
#define TARGET 1.5

static uint8_t *source, *saved; /* what pages are brought from, and copied to */

struct faults {
	struct mem mem;
	struct userfault u;
	struct userfault_guard guard;
	uint8_t *buffer;
	struct bare_faults bare;
};

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	*bytes = source + gpa;
	return (int)pages;
}

static struct pager pager = {.name = "memory", .ahead = 1, .fetch = fetch};

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	memcpy(saved + gpa, bytes, pages * PAGE_SIZE);
}

static void on_failed(void *arg, const char *reason)
{
	errx(1, "%s", reason);
}

static void start(struct faults *f)
{
	source = bench_alloc(BYTES, 1);
	saved = bench_alloc(BYTES, 1);
	f->buffer = bench_alloc(USERFAULT_RUN, PAGE_SIZE);
	memset(source, 0x5a, BYTES);
	memset(saved, 0x5a, BYTES);
	if (mem_create(&f->mem, BYTES, MEM_HUGE_NEVER) < 0)
		errx(1, "no RAM");
	userfault_init(&f->u, &f->mem, on_failed, NULL);
	f->guard.save = save;
	if (userfault_guard_add(&f->u, &f->guard) < 0)
		errx(1, "no userfaultfd");
	bare_faults_start(&f->bare, BYTES, source, saved);
}

static void stop(struct faults *f)
{
	bare_faults_stop(&f->bare);
	userfault_guard_remove(&f->u, &f->guard);
	userfault_destroy(&f->u);
	mem_destroy(&f->mem);
}

/* µs a page. */
static double touch(uint8_t *ram)
{
	uint64_t start = watchdog_now();

	for (unsigned int n = 0; n < PAGES; n++)
		__atomic_fetch_add(ram + n * PAGE_SIZE, 1, __ATOMIC_RELAXED);
	return (double)(watchdog_now() - start) / 1e3 / PAGES;
}

static void make_absent(struct faults *f)
{
	if (userfault_absent(&f->u, &pager, 0, BYTES) < 0 || madvise(f->bare.ram, BYTES, MADV_DONTNEED))
		errx(1, "pages cannot be dropped");
}

static void absent(struct faults *f, double *ours, double *floor)
{
	make_absent(f);
	*ours = touch(f->mem.region[0].hva);
	*floor = touch(f->bare.ram);
}

static void protected(struct faults *f, double *ours, double *floor)
{
	if (userfault_protect(&f->u, &f->guard, 0, BYTES) < 0 || uffd_protect(f->bare.fd, f->bare.ram, BYTES, true) < 0)
		errx(1, "pages cannot be protected");
	*ours = touch(f->mem.region[0].hva);
	*floor = touch(f->bare.ram);
}

static void ahead(struct faults *f, double *ours, double *floor)
{
	uint64_t start, middle, run = USERFAULT_RUN * PAGE_SIZE;

	make_absent(f);
	start = watchdog_now();
	if (userfault_prefetch(&f->u, 0, BYTES, f->buffer) != PAGES)
		errx(1, "not all pages were brought");
	middle = watchdog_now();
	for (uint64_t at = 0; at < BYTES; at += run) {
		struct uffdio_copy c = {.dst = (uintptr_t)f->bare.ram + at, .src = (uintptr_t)source + at, .len = run};

		if (ioctl(f->bare.fd, UFFDIO_COPY, &c))
			err(1, "UFFDIO_COPY");
	}
	*ours = (double)(middle - start) / 1e3 / PAGES;
	*floor = (double)(watchdog_now() - middle) / 1e3 / PAGES;
}

void bench_fault(const struct bench *b, struct report *r)
{
	static const struct {
		const char *what;
		void (*measure)(struct faults *, double *ours, double *floor);
	} cases[] = {
		{"absent page, brought in when touched", absent},
		{"protected page, copied before it is written", protected},
		{"page brought in ahead, of 64", ahead},
	};
	static struct faults f;

	start(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct series s = series_new(ROUNDS);

		for (unsigned int n = 0; n < ROUNDS; n++)
			cases[i].measure(&f, &s.ours[n], &s.floor[n]);
		series_report(&s, r, (struct line){.what = cases[i].what, .unit = "us", .target = TARGET, .target_is = TARGET_OF_RATIO});
	}
	stop(&f);
}
