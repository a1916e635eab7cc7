#include "tests/bench/ksm_peer.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/bench/bench.h"
#include "tests/bench/busy_threads.h"
#include "tests/bench/report.h"
#include "tests/bench/stopwatch.h"
#include "tests/bench/yardstick.h"
#include "vmm/mem.h"

#define LOOK_MS 20
#define QUIET_S 3.0  /* that it has saved nothing more ... */
#define QUIET_SCANS 3 /* ... in which it has looked at all memory so often */
#define PATIENCE_S 600.0
#define ITEM 64.0 /* bytes that it keeps for each page: struct ksm_rmap_item */
#define KIB (PAGE_SIZE / 1024.0)

static double resident_kib(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%*u %lu", &pages) != 1)
		errx(1, "/proc/self/statm: not as expected");
	fclose(f);
	return (double)pages * KIB;
}

/* Older kernels do not count the zero pages; then they show as pages that this process no longer has. */
static double saved_kib(double resident_before_kib)
{
	int64_t zero = ksm_figure("ksm_zero_pages");
	double zero_kib = zero < 0 ? resident_before_kib - resident_kib() : (double)zero * KIB;

	return (zero_kib > 0 ? zero_kib : 0) + (double)ksm_figure("pages_sharing") * KIB;
}

/* Until nothing comes any more. */
static void follow(struct course *c, double start_us, double start_cpu_s, double resident_before_kib)
{
	int64_t quiet_since = 0; /* its scan */
	double s = 0, most = 0;

	while (s < PATIENCE_S) {
		double kib;

		stopwatch_pause_ms(LOOK_MS);
		s = (stopwatch_us() - start_us) / 1e6;
		kib = saved_kib(resident_before_kib);
		course_add(c, (struct moment){s, ksm_cpu_s() - start_cpu_s, kib});
		if (kib > most * 1.0005) {
			most = kib;
			quiet_since = ksm_figure("full_scans");
		}
		if (course_is_at_rest(c, QUIET_S) && ksm_figure("full_scans") >= quiet_since + QUIET_SCANS)
			return;
	}
	errx(1, "KSM does not come to rest");
}

/* As two guests would have it, who are not there. */
static uint8_t *make_memory(unsigned int mib, uint64_t guest)
{
	uint64_t size = YARDSTICK_GUESTS * guest;
	uint8_t *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED || madvise(bytes, size, MADV_NOHUGEPAGE) || madvise(bytes, size, MADV_MERGEABLE))
		err(1, "memory for KSM");
	for (unsigned int i = 0; i < YARDSTICK_GUESTS; i++)
		yardstick_fill(bytes + i * guest, mib, i);
	return bytes;
}

struct savings ksm_measure(unsigned int mib, enum ksm_pace pace)
{
	uint64_t guest = 4 * yardstick_quarter(mib) * PAGE_SIZE;
	uint8_t *bytes = make_memory(mib, guest);
	double start_cpu_s = ksm_cpu_s(), resident_before_kib = resident_kib(), start_us = stopwatch_us();
	struct course c = {NULL, 0, 0};
	struct savings s;

	ksm_borrow(pace);
	follow(&c, start_us, start_cpu_s, resident_before_kib);
	ksm_return();
	s = course_savings(&c);
	s.metadata_percent = 100 * ITEM / PAGE_SIZE;
	free(c.moments);
	munmap(bytes, YARDSTICK_GUESTS * guest);
	return s;
}

static struct savings measure_beside(unsigned int mib, enum ksm_pace pace)
{
	struct busy_threads busy;
	struct savings s;

	busy_threads_start(&busy);
	s = ksm_measure(mib, pace);
	busy_threads_stop(&busy);
	return s;
}

struct ksm_found ksm_rows(struct grid *g, unsigned int mib, double oracle_kib)
{
	static const struct {
		const char *name;
		enum ksm_pace pace;
		struct savings (*measure)(unsigned int mib, enum ksm_pace pace);
	} rows[] = {
		{"KSM, 5,000 pages a scan", KSM_FAST, ksm_measure},
		{"the same, beside two busy threads", KSM_FAST, measure_beside},
		{"KSM, its advisor", KSM_ADVISOR, ksm_measure},
	};
	struct savings s[sizeof(rows) / sizeof(*rows)] = {{.kib = 0}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *why = ksm_refuses(rows[i].pace);

		if (why) {
			fprintf(stderr, "bench: %s: not measured: %s\n", rows[i].name, why);
			continue;
		}
		s[i] = rows[i].measure(mib, rows[i].pace);
		savings_row(g, rows[i].name, &s[i], oracle_kib);
	}
	return (struct ksm_found){s[0], s[1]};
}

void bench_ksm(const struct bench *b, struct report *r)
{
	static struct grid g;

	savings_table(&g, "What KSM saves of the zero and equal pages of two guests' memory, which a process has");
	ksm_rows(&g, b->mib, 0);
	report_add_grid(r, &g);
}
