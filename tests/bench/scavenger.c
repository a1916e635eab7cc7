/*
 * What the scavenger saves of the yardstick's two guests, stage by stage, beside the most that can be saved (sharing_oracle.h) and
 * what the kernel's KSM saves of the same pages; what that costs, a guest's hot loop among it; and how long a guest waits for a
 * page that was put away, beside a bare copy by userfaultfd.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bare_fault.h"
#include "tests/bench/bench.h"
#include "tests/bench/ksm_peer.h"
#include "tests/bench/report.h"
#include "tests/bench/saved_guest.h"
#include "tests/bench/series.h"
#include "tests/bench/sharing_oracle.h"
#include "tests/bench/yard.h"
#include "tests/bench/yardstick.h"
#include "vmm/mem.h"
#include "vmm/watchdog.h"

#define HOT 16u
#define AT_ONCE "cpu=100,idle=100" /* as fast as it can, as KSM is */
#define WINDOW_MS 1500
#define REST_PAIRS 6u
#define WORK_PAIRS 20u
#define FAULT_RUNS 3u
#define FAULTS 500.0 /* of cold pages, or as many as there are in a minute */
#define FAULT_WAITS 30u
#define FAULT_MS 2000
#define FAULT_HOT 64u /* pages rewritten between two that are looked at */
#define FAULT_PAGES 400u
#define FAULT_BETWEEN_NS 20000000u /* of computing; other programs have their turns meanwhile, as they have between two of a guest's */

#define TARGET_SAME_LEFT 10 /* % */
#define TARGET_DELTA_LEFT 20
#define TARGET_TIME (1 / 5.)
#define TARGET_CPU (1 / 2.)
#define TARGET_KSM (1 / 1.5)
#define TARGET_METADATA 0.5
#define TARGET_SLOWER 1.05
#define TARGET_FAULT 1.5

static const struct {
	const char *name, *options;
} stages[SHARING_STAGES] = {
	[SHARING_ZERO] = {"zero pages", "stages=zero," AT_ONCE},
	[SHARING_SAME] = {"+ equal pages", "stages=same," AT_ONCE},
	[SHARING_DELTA] = {"+ deltas", "stages=delta," AT_ONCE},
	[SHARING_COMPRESS] = {"+ compression", "stages=compress," AT_ONCE},
};

/* Rounds that make a line: so many that lines cost nothing, so few that a window has several. */
static unsigned int report_every(void)
{
	return getenv("PENUMBRA_LAB") ? 1 : 50;
}

/* A guest of the yardstick that has run for itself, as a snapshot has it. */
static struct dump dump_guest(const struct bench *b, unsigned int number, struct saved_guest *place)
{
	char words[160], line[400], memory[100], path[80];

	saved_guest_make(place, b);
	snprintf(line, sizeof(line), "--mem %uM %s -- %s guest=%u", b->mib, b->memory, yardstick_words(b->mib, HOT, 1, words), number);
	saved_guest_start(place, line, NULL);
	saved_guest_ask(place, "pause");
	saved_guest_save(place, "s");
	saved_guest_stop(place);
	snprintf(memory, sizeof(memory), "%s/memory", saved_guest_path(place, "s", path));
	return dump_open(memory);
}

/* Of the zero pages only those that a guest has written: the others are not there. */
static struct sharing find_most(const struct bench *b)
{
	struct saved_guest places[YARDSTICK_GUESTS];
	struct dump dumps[YARDSTICK_GUESTS];
	struct sharing most;

	for (unsigned int i = 0; i < YARDSTICK_GUESTS; i++)
		dumps[i] = dump_guest(b, i, &places[i]);
	most = sharing_oracle(dumps, YARDSTICK_GUESTS);
	most.zero = YARDSTICK_GUESTS * yardstick_quarter(b->mib);
	for (unsigned int i = 0; i < YARDSTICK_GUESTS; i++) {
		dump_close(&dumps[i]);
		saved_guest_remove(&places[i]);
	}
	return most;
}

/* Rounds with and without, in turn. */
static void alternate(struct yard *y, unsigned int pairs, struct series *wall, struct series *cpu)
{
	*wall = series_new(pairs);
	*cpu = series_new(pairs);
	for (unsigned int i = 0; i < pairs; i++) {
		struct yard_round with, without;

		yard_scavenge(y, false);
		without = yard_round(y, WINDOW_MS);
		yard_scavenge(y, true);
		with = yard_round(y, WINDOW_MS);
		wall->floor[i] = without.wall_us;
		wall->ours[i] = with.wall_us;
		cpu->floor[i] = without.cpu_us;
		cpu->ours[i] = with.cpu_us;
	}
}

static double slower_at_rest(struct yard *y)
{
	struct series wall, cpu;
	double ratio;

	alternate(y, REST_PAIRS, &wall, &cpu);
	ratio = series_ratio(&cpu);
	free(wall.ours);
	free(wall.floor);
	free(cpu.ours);
	free(cpu.floor);
	return ratio;
}

static struct savings run_stage(const struct bench *b, const char *options)
{
	char words[160];
	struct savings s;
	struct course c;
	struct yard y;

	yard_start(&y, b, options, yardstick_words(b->mib, HOT, report_every(), words));
	c = yard_follow(&y);
	s = course_savings(&c);
	s.host_kib = y.host_kib - yard_host_kib(&y);
	s.metadata_percent = 100 * yard_stats(&y).metadata_kib / (YARDSTICK_GUESTS * b->mib * 1024.0);
	s.slower = slower_at_rest(&y);
	yard_stop(&y);
	free(c.moments);
	return s;
}

static void oracle_row(struct grid *g, const char *name, double kib)
{
	unsigned int row = grid_row(g, name);

	grid_add(g, row, "%.1f", kib / 1024);
	grid_add(g, row, "100 %%");
	while (g->cell[row][g->columns - 1][0] == '\0')
		grid_add(g, row, "–");
}

static void oracle_rows(struct grid *g, const struct sharing *most)
{
	char name[GRID_CELL];

	for (enum sharing_stage stage = SHARING_ZERO; stage < SHARING_STAGES; stage++) {
		snprintf(name, sizeof(name), "oracle: %s", stages[stage].name);
		oracle_row(g, name, sharing_saved_kib(most, stage));
	}
}

static void one_beside(struct report *r, double ours, double floor, struct line line)
{
	struct series s = series_new(1);

	s.ours[0] = ours;
	s.floor[0] = floor;
	series_report(&s, r, line);
}

static void one(struct report *r, double value, struct line line)
{
	line.ours = spread_of_values(&value, 1);
	report_add(r, line);
}

static void beside_oracle(struct report *r, const struct savings s[SHARING_STAGES], const struct sharing *most)
{
	double same = sharing_saved_kib(most, SHARING_SAME), delta = sharing_saved_kib(most, SHARING_DELTA) - same;

	one(r, 100 * (1 - s[SHARING_SAME].kib / same), (struct line){
		.what = "zero and equal pages: what the oracle saves and we do not", .unit = "%", .target = TARGET_SAME_LEFT});
	one(r, 100 * (1 - (s[SHARING_DELTA].kib - s[SHARING_SAME].kib) / delta), (struct line){
		.what = "deltas: what the oracle saves by them and we do not", .unit = "%", .target = TARGET_DELTA_LEFT});
	one(r, s[SHARING_COMPRESS].metadata_percent, (struct line){
		.what = "metadata, of the memory looked at", .unit = "%", .target = TARGET_METADATA});
}

static void beside_ksm(struct report *r, const struct savings s[SHARING_STAGES], const struct ksm_found *found)
{
	const struct savings *same = &s[SHARING_SAME], *ksm = &found->beside;

	one_beside(r, same->kib / 1024, ksm->kib / 1024, (struct line){.what = "zero and equal pages: saved (floor: KSM)", .unit = "MiB"});
	one_beside(r, same->most_s, ksm->most_s, (struct line){
		.what = "the same, time until 90 % were (floor: KSM, beside threads as busy as the guests)", .unit = "s", .target = TARGET_TIME,
		.target_is = TARGET_OF_RATIO});
	one_beside(r, same->most_s, found->alone.most_s, (struct line){.what = "the same (floor: KSM, beside nobody)", .unit = "s"});
	one_beside(r, same->cpu_most_s, ksm->cpu_most_s, (struct line){
		.what = "the same, processor time until then (floor: KSM)", .unit = "s", .target = TARGET_CPU,
		.target_is = TARGET_OF_RATIO});
	one_beside(r, ksm->kib / 1024, s[SHARING_DELTA].kib / 1024, (struct line){
		.what = "what KSM saves (floor: we, with deltas)", .unit = "MiB", .target = TARGET_KSM, .target_is = TARGET_OF_RATIO});
}

static void savings(const struct bench *b, struct report *r)
{
	static struct grid g;
	struct savings s[SHARING_STAGES];
	struct ksm_found ksm;
	struct sharing most = find_most(b);
	static char title[160];

	snprintf(title, sizeof(title), "Saved of two guests of %u MiB, a quarter of each zero, equal in both, similar, random (" AT_ONCE ")",
		 b->mib);
	savings_table(&g, title);
	oracle_rows(&g, &most);
	for (enum sharing_stage stage = SHARING_ZERO; stage < SHARING_STAGES; stage++) {
		s[stage] = run_stage(b, stages[stage].options);
		savings_row(&g, stages[stage].name, &s[stage], sharing_saved_kib(&most, stage));
	}
	ksm = ksm_rows(&g, b->mib, sharing_saved_kib(&most, SHARING_SAME));
	beside_oracle(r, s, &most);
	if (ksm.beside.kib > 0)
		beside_ksm(r, s, &ksm);
	report_add_grid(r, &g);
}

/*
 * As it is by default, from the moment on where it has most to do. In the lab it shares the guests' only processor, so that only
 * what a round needs of that says something.
 */
static void hot_loop(const struct bench *b, struct report *r)
{
	struct series wall, cpu;
	char words[160];
	struct yard y;

	yard_start(&y, b, "", yardstick_words(b->mib, HOT, report_every(), words));
	alternate(&y, WORK_PAIRS, &wall, &cpu);
	yard_stop(&y);
	series_report(&wall, r, (struct line){
		.what = "round of a guest's hot loop while it works, by default (floor: while it rests)", .unit = "µs",
		.target = getenv("PENUMBRA_LAB") ? 0 : TARGET_SLOWER, .target_is = TARGET_OF_RATIO});
	series_report(&cpu, r, (struct line){
		.what = "the same, processor time of the guests", .unit = "µs", .target = TARGET_SLOWER, .target_is = TARGET_OF_RATIO});
}

static double quantile_us(const struct latency *l, double share)
{
	return (double)latency_quantile(l, share) / 1e3;
}

static void compute(uint64_t ns)
{
	uint64_t end = watchdog_now() + ns;

	while (watchdog_now() < end)
		;
}

/* Bare copies of absent pages, by one who computes for so long between two, as a guest does. */
static struct latency measure_bare(uint64_t between_ns)
{
	static uint8_t source[FAULT_PAGES * PAGE_SIZE];
	struct bare_faults bare;

	memset(source, 0x5a, sizeof(source));
	bare_faults_start(&bare, sizeof(source), source, NULL);
	for (uint64_t at = 0; at < sizeof(source); at += PAGE_SIZE) {
		(void)*(volatile uint8_t *)(bare.ram + at);
		compute(between_ns);
	}
	bare_faults_stop(&bare);
	return bare.answer;
}

/*
 * The guests look at a page that rests between two rounds of their hot loop: it is cold, if the scavenger had the time for it. Bare copies
 * beside them have the same caches and processors.
 */
static struct yard_stats measure_faults(const struct bench *b, struct latency *bare)
{
	unsigned long half = 2 * yardstick_quarter(b->mib);
	struct yard_stats s = {0};
	char words[200];
	struct yard y;

	snprintf(words, sizeof(words), "similar=%lu text=%lu group=%u zero=0 dup=0 unique=0 cold=0 hot=%u slice=1 rounds=0 report=%u", half,
		 half, YARDSTICK_GROUP, FAULT_HOT, report_every());
	yard_start(&y, b, AT_ONCE ",refaults=1000", words);
	yard_scavenge(&y, true);
	for (unsigned int i = 0; i < FAULT_WAITS; i++) {
		yard_round(&y, FAULT_MS);
		s = yard_stats(&y);
		if (s.refaults > FAULTS)
			break;
	}
	yard_scavenge(&y, false);
	*bare = measure_bare(FAULT_BETWEEN_NS);
	yard_stop(&y);
	if (s.refaults < 10)
		errx(1, "only %.0f cold pages were wanted back", s.refaults);
	return s;
}

static void add_times(struct grid *g, const char *name, double n, double median_us, double p99_us, double p999_us)
{
	unsigned int row = grid_row(g, name);

	grid_add(g, row, "%.0f", n);
	grid_add(g, row, "%.1f", median_us);
	grid_add(g, row, "%.1f", p99_us);
	grid_add(g, row, "%.1f", p999_us);
	grid_tell(g, row);
}

/* Returns the median. */
static double add_bare(struct grid *g, const char *name, const struct latency *l)
{
	double median = quantile_us(l, .5);

	add_times(g, name, (double)l->count, median, quantile_us(l, .99), quantile_us(l, .999));
	return median;
}

static void faults(const struct bench *b, struct report *r)
{
	static const char *const heads[] = {"from when the fault is known to its answer", "faults", "median, µs", "99 %, µs",
					    "99.9 %, µs", NULL};
	struct series beside = series_new(FAULT_RUNS), alone = series_new(FAULT_RUNS);
	static struct grid g;

	grid_start(&g, "Waiting for a page", heads);
	for (unsigned int i = 0; i < FAULT_RUNS; i++) {
		struct latency bare, bare_alone;
		struct yard_stats ours = measure_faults(b, &bare);

		bare_alone = measure_bare(0);
		beside.ours[i] = alone.ours[i] = ours.median_us;
		add_times(&g, "a cold page", ours.refaults, ours.median_us, ours.p99_us, ours.p999_us);
		beside.floor[i] = add_bare(&g, "a bare userfaultfd copy, beside the guests", &bare);
		alone.floor[i] = add_bare(&g, "the same without guests, one after the other", &bare_alone);
	}
	series_report(&beside, r, (struct line){.what = "cold page brought back, median (floor: a bare userfaultfd copy beside the guests)",
						.unit = "µs", .target = TARGET_FAULT, .target_is = TARGET_OF_RATIO});
	series_report(&alone, r, (struct line){.what = "the same (floor: a bare userfaultfd copy without guests)", .unit = "µs"});
	report_add_grid(r, &g);
}

void bench_scavenger(const struct bench *b, struct report *r)
{
	savings(b, r);
	hot_loop(b, r);
	faults(b, r);
}
