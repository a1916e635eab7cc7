/*
 * Guests that write while their pages are looked at, compared, shared, put away and brought back: they rewrite and verify some of
 * them without a pause, read others, and verify all the rest in small slices, so that a page that is not what was written is
 * found soon. The scavenger looks at whatever was not written for a moment, checkpoints are taken, modes change, and disks write
 * into RAM at the same time.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/scavenged.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

#define SCAVENGE "--scavenge=cpu=100,idle=20,refaults=100000 "
#define PAGES "group=16 zero=400 dup=300 twin=300 similar=400 text=400 unique=200 cold=100 hot=8 read=40 churn=300 "
#define FULL_SPEED PAGES "slice=20 report=10 lull=200 rounds="
#define SLICE_MS 200

static uint64_t duration_ns(void)
{
	return (is_long() ? 60000 : 10000) * CONTROL_MS;
}

/* Waits for what must have happened for this to be a test; the guests run, and are looked at. */
static void await_worked(const struct place *p, const char *what)
{
	static const char *const fields[] = {"scanned", "evicted", "refaults", "cow_broken", "zero_kib"};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		await_scavenged(p, fields[i], 1);
		printf("%s%s %lld", i ? ", " : what, fields[i], (long long)scavenged(p, fields[i]));
	}
	printf(", saved %lld KiB\n", (long long)scavenged(p, "saved_kib"));
}

/* Scan, checkpoints and faults over the same pages. What was saved last is right as well. */
START_TEST(test_checkpoints)
{
	struct snapshot_place p = make_snapshot_place();
	uint64_t until = monotonic_ns() + duration_ns();
	char words[400], *directory = snapshot_path(&p, "c");
	struct outcome o;
	struct child c;

	snprintf(words, sizeof(words), "--checkpoint %s --checkpoint-every 50 " SCAVENGE "--mem 24M @memory -- " FULL_SPEED "0", directory);
	c = start_run(&p.control, words);
	while (monotonic_ns() < until && !child_has_ended(&c))
		child_linger(&c, SLICE_MS);
	await_worked(&p.control, "checkpoints: ");
	end_scavenged(&p.control, &c, "checkpoints");
	ck_assert_uint_gt(newest_checkpoint(directory), 1);
	c = start_restore(&p, SCAVENGE "--ram lazy", "c");
	child_expect(&c, "round ");
	until = monotonic_ns() + duration_ns() / 4;
	while (monotonic_ns() < until && !child_has_ended(&c))
		child_linger(&c, SLICE_MS);
	end_scavenged(&p.control, &c, "restored");
	/* And without a scavenger, to be sure that it is not the scavenger that makes it right. */
	snprintf(words, sizeof(words), "restore --timeout 4 --mmu ept %s", directory);
	o = spawn_line(words, "");
	ck_assert_msg(o.status == 126 && strstr(o.err.data, "timed out") && !strstr(o.out.data, "memory: "), "status %d, '%s', '%s'", o.status,
		      o.out.data, o.err.data);
	outcome_free(&o);
	free(directory);
	leave_snapshot_place(&p);
}
END_TEST

/* Several guests that share, and whatever can be asked of them. */
START_TEST(test_requests)
{
	static const char *const requests[] = {"pause", "resume", "mmu ept", "mmu shadow", "scavenge off", "scavenge on", "stats"};
	struct random r = random_start("scavenge_race");
	uint64_t until = monotonic_ns() + duration_ns();
	struct place p = make_place();
	struct child c = start_run(&p, "--count 3 " SCAVENGE "--mem 24M @memory -- " FULL_SPEED "0");
	unsigned int asked = 0;

	while (monotonic_ns() < until && !child_has_ended(&c)) {
		child_linger(&c, (unsigned int)random_below(&r, SLICE_MS));
		ask_ok(&p, requests[random_below(&r, sizeof(requests) / sizeof(*requests))]);
		asked++;
	}
	if (child_has_ended(&c))
		end_scavenged(&p, &c, "requests");
	ask_ok(&p, "scavenge on");
	ask_ok(&p, "resume");
	await_worked(&p, "requests: ");
	printf("requests: %u\n", asked);
	end_scavenged(&p, &c, "requests");
	leave_place(&p);
}
END_TEST

/* A device writes pages, and reads them, that are looked at. */
START_TEST(test_disk)
{
	struct snapshot_place p = make_snapshot_place();
	char *disk = snapshot_path(&p, "disk"), line[300];
	FILE *f = fopen(disk, "w");
	uint64_t until = monotonic_ns() + duration_ns() / 2;
	unsigned int runs = 0;

	ck_assert_int_eq(ftruncate(fileno(f), 1 << 20), 0);
	fclose(f);
	while (monotonic_ns() < until || !runs) {
		static const char *const commands[] = {"fill", "check"};

		for (size_t i = 0; i < 2; i++) {
			struct outcome o;

			snprintf(line, sizeof(line), "run --scavenge=cpu=100,idle=1,refaults=100000 --disk %s @disk -- %s %u", disk, commands[i],
				 runs);
			o = spawn_line(line, "");
			ck_assert_msg(o.status == 0 && !o.err.size, "%s: status %d, '%s', '%s'", line, o.status, o.out.data, o.err.data);
			outcome_free(&o);
		}
		runs++;
	}
	printf("disk: %u times\n", runs);
	free(disk);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_checkpoints, test_requests, test_disk};

	return RUN_TESTS("scavenge_race", tests);
}
