/*
 * Clones of a guest of 64 MiB in one process: what each of them takes in time, from its making to its end, beside what KVM
 * itself takes for one more VM; and what each of a thousand that wait has for itself in memory and in mappings.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bare_vm.h"
#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/bench/report.h"
#include "tests/bench/saved_guest.h"
#include "tests/bench/series.h"
#include "tests/bench/stopwatch.h"
#include "tests/bench/waiting_guest.h"
#include "vmm/kvm.h"

#define FEW 10
#define SOME 110
#define MANY 1000
#define RAM (64ull << 20)
#define TARGET_TIME_RATIO 1.5
#define TARGET_KIB 300
#define TARGET_MAPPINGS 60
#define MEMORY_ROUNDS 3
#define PATIENCE 600 /* tenths of a second */

static double clone_us(const struct bench *b, const char *path, unsigned int count)
{
	char number[20];
	const char *const argv[] = {b->penumbra, "clone", "--timeout=100", "--count", number, path, NULL};
	struct child c;

	snprintf(number, sizeof(number), "%u", count);
	c = child_start(argv, NULL);
	return child_finish(&c).exit_us;
}

/* What the guest waits for has come, but it has not seen it yet: each clone ends at once. */
static void save_ending(struct saved_guest *g, const struct bench *b)
{
	char words[300], image[80];

	saved_guest_make(g, b);
	waiting_guest_write(saved_guest_path(g, "image", image));
	snprintf(words, sizeof(words), "--mem 64M %s", image);
	saved_guest_start(g, words, "");
	saved_guest_ask(g, "pause");
	child_say(&g->child, "x");
	stopwatch_pause_ms(200);
	saved_guest_save(g, "s");
	saved_guest_stop(g);
}

static double bare_vms_us(const struct kvm *k)
{
	double us = 0;

	for (unsigned int i = 0; i < SOME - FEW; i++)
		us += bare_vm_us(k, RAM);
	return us / (SOME - FEW);
}

static void times(const struct bench *b, struct report *r)
{
	unsigned int rounds = b->runs / 10 + 1;
	struct series s = series_new(rounds);
	struct saved_guest g;
	char path[80];
	struct kvm k;

	if (kvm_open(&k) < 0)
		exit(1);
	save_ending(&g, b);
	saved_guest_path(&g, "s", path);
	for (unsigned int i = 0; i < rounds; i++) {
		double few = clone_us(b, path, FEW);

		s.ours[i] = (clone_us(b, path, SOME) - few) / (SOME - FEW);
		s.floor[i] = bare_vms_us(&k);
	}
	saved_guest_remove(&g);
	kvm_close(&k);
	series_report(&s, r, (struct line){.what = "a further clone, to its end (floor: a bare VM)", .unit = "µs",
					   .target = TARGET_TIME_RATIO, .target_is = TARGET_OF_RATIO});
}

struct share {
	double private_kib, mappings;
	unsigned int threads;
};

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

static double field_of(pid_t pid, const char *file, const char *format)
{
	FILE *f = open_proc(pid, file);
	char line[400];
	double value = 0;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, format, &value) != 1)
		;
	if (f)
		fclose(f);
	return value;
}

static double count_mappings(pid_t pid)
{
	FILE *f = open_proc(pid, "maps");
	double lines = 0;
	int c;

	while (f && (c = getc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	return lines;
}

/* When all of them run and nothing grows any more: they wait for input that never comes. */
static struct share share_of(const struct bench *b, const char *path, unsigned int count)
{
	char number[20];
	const char *const argv[] = {b->penumbra, "clone", "--console=none", "--count", number, path, NULL};
	struct share s = {0};
	double last = -1;
	struct child c;

	snprintf(number, sizeof(number), "%u", count);
	c = child_start(argv, &(struct child_options){.quiet = true});
	for (unsigned int i = 0; i < PATIENCE; i++, last = s.private_kib) {
		stopwatch_pause_ms(100);
		s.private_kib = field_of(c.pid, "smaps_rollup", "Private_Dirty: %lf");
		if (field_of(c.pid, "status", "Threads: %lf") > count && s.private_kib == last)
			break;
	}
	s.mappings = count_mappings(c.pid);
	if (s.private_kib != last)
		errx(1, "%u clones did not come to rest", count);
	child_stop(&c);
	return s;
}

static void shares(const struct bench *b, struct report *r)
{
	double kib[MEMORY_ROUNDS], mappings[MEMORY_ROUNDS];
	struct saved_guest g;
	char path[80], words[300];

	snprintf(words, sizeof(words), "--mem 64M %s", b->idle);
	saved_guest_make(&g, b);
	saved_guest_start(&g, words, "");
	saved_guest_save(&g, "s");
	saved_guest_stop(&g);
	for (unsigned int i = 0; i < MEMORY_ROUNDS; i++) {
		struct share one = share_of(b, saved_guest_path(&g, "s", path), 1), all = share_of(b, path, MANY);

		kib[i] = (all.private_kib - one.private_kib) / (MANY - 1);
		mappings[i] = (all.mappings - one.mappings) / (MANY - 1);
	}
	saved_guest_remove(&g);
	report_add(r, (struct line){.what = "private memory of each of 1,000 clones", .unit = "KiB", .target = TARGET_KIB,
				     .ours = spread_of_values(kib, MEMORY_ROUNDS)});
	report_add(r, (struct line){.what = "mappings of each of 1,000 clones", .unit = "number", .target = TARGET_MAPPINGS,
				     .ours = spread_of_values(mappings, MEMORY_ROUNDS)});
}

void bench_clone(const struct bench *b, struct report *r)
{
	times(b, r);
	shares(b, r);
}
