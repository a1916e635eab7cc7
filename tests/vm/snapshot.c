/*
 * Guests interrupted at random moments, saved, and continued from the directory by another process in the other mode: whatever
 * they were doing, their output and exit code are those of a guest left alone. Every image of guest/ is among them, but for
 * what ends by being killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/vm/effort.h"
#include "tests/vm/round_trip.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

static const struct trip_guest guests[] = {
	{.words = "@accesses -- 10"},
	{.words = "@badtables -- random 3"},
	{.words = "@clock -- 30"},
	{.words = "@compute -- 30"},
	{.words = "@compute -- sse 6"},
	{.words = "@disk -- list"},
	{.words = "@echo", .input = "one\ntwo\nexit 17\n", .status = 17},
	{.words = "@frames"},
	{.words = "@hello -- 7", .status = 7},
	{.words = "@hostile -- console-flood 20000"},
	{.words = "@hostile -- pic-garbage 400"},
	{.words = "@hostile -- pit-garbage 400"},
	{.words = "@hostile -- uart-garbage 400"},
	{.words = "@memory -- seed=7 rounds=20 pause=1"},
	{.words = "--mem 24M @memory -- zero=2000 dup=1000 similar=0 unique=100 hot=7 cold=3 rounds=2 seed=3"},
	{.words = "@mmucost -- fork 3"},
	{.words = "@mmucost -- map-32 100"},
	{.words = "@paging -- random 60 5"}, /* its codes differ: with nested paging the marks of entries do */
	{.words = "@pc-linux", .modes = DIRECT_MODE},
	{.words = "@pc-linux32", .modes = DIRECT_MODE},
	{.words = "@pc-multiboot", .modes = DIRECT_MODE},
	{.words = "@pc-multiboot-flat", .modes = DIRECT_MODE},
	{.words = "@pc-pvh", .modes = DIRECT_MODE},
	{.words = "@ports -- 3000"},
	{.words = "--mem 5G @procs -- 3"},
	{.words = "@shell", .input = "hello a b\nprocs 2\necho\nfrom the shell\nexit 5\nexit 3\n", .status = 3},
	{.words = "@solo5-hello -- 9", .status = 9},
	{.words = "@solo5-hostile -- load data"},
	{.words = "@solo5-sse", .modes = NOT_INTERPRETED},
	{.words = "@tablestep -- kernel", .modes = NESTED},
	{.words = "@tablestep -- user", .modes = NESTED},
};

#define GUESTS (sizeof(guests) / sizeof(*guests))

/*
 * So many trips of one or two interruptions. A guest that was faster is tried again, sooner each time, until the time it takes
 * to ask is all that is left: up to three tries for each trip. Returns how many interruptions there were.
 */
static unsigned int trips(const struct trip_guest *g, unsigned int count, struct random *r)
{
	unsigned int stops = 0;
	uint64_t us;
	struct outcome whole = trip_whole(g, &us, r);

	for (unsigned int tries = 0, done = 0; done < count && tries < 3 * count; tries++) {
		unsigned int n = trip(g, &whole, 1 + (unsigned int)random_below(r, 2), us, r);

		stops += n;
		done += n != 0;
		if (!n)
			us = us / 2 + 1;
	}
	printf("snapshot: %s: %u round trips\n", g->words, stops);
	outcome_free(&whole);
	return stops;
}

START_TEST(test_round_trips)
{
	struct random r = random_start("snapshot");

	trips(&guests[_i], effort(4, 1), &r);
}
END_TEST

static const struct trip_guest chained[] = {
	{.words = "@memory -- seed=9 rounds=200 pause=1"},
	{.words = "@clock -- 60"},
	{.words = "@procs -- 6"},
};

/* Restored, saved, restored, ... five deep. */
START_TEST(test_chained)
{
	const struct trip_guest *g = &chained[_i];
	struct random r = random_start("snapshot");
	uint64_t us;
	struct outcome whole = trip_whole(g, &us, &r);
	unsigned int stops = 0, tries = 0;

	for (us /= 8; stops < 5 && tries < 20; us = us / 2 + 1, tries++)
		stops = trip(g, &whole, 5, us, &r);
	ck_assert_uint_eq(stops, 5);
	outcome_free(&whole);
}
END_TEST

/* With requests under way: what the guest was told is on the disk, and what it was not told is asked again. */
START_TEST(test_disk)
{
	struct random r = random_start("snapshot");
	struct snapshot_place p = make_snapshot_place();
	char *disk = snapshot_path(&p, "disk"), fill[200], check[200];
	struct trip_guest guest = {.words = fill};
	FILE *f = fopen(disk, "w");
	unsigned int stops = 0;
	uint64_t us;

	ck_assert_int_eq(ftruncate(fileno(f), 1 << 20), 0);
	fclose(f);
	for (unsigned int i = 0; i < effort(6, 2); i++) {
		struct outcome whole;

		snprintf(fill, sizeof(fill), "--disk %s @disk -- fill %u", disk, i + 100);
		whole = trip_whole(&guest, &us, &r);
		snprintf(fill, sizeof(fill), "--disk %s @disk -- fill %u", disk, i);
		snprintf(check, sizeof(check), "run --disk %s @disk -- check %u", disk, i);
		stops += trip(&guest, &whole, 2, us / 2, &r);
		outcome_free(&whole);
		whole = spawn_line(check, "");
		assert_outcome(&whole, 0, "2048 sectors are right\n", fill);
		outcome_free(&whole);
	}
	printf("snapshot: disk: %u round trips\n", stops);
	free(disk);
	leave_snapshot_place(&p);
}
END_TEST

#define NET_FD 60 /* in the program: a socket in place of a TAP interface */

/* A unikernel that writes and reads its block device goes on with it, and finds its network device again. */
START_TEST(test_solo5_devices)
{
	struct random r = random_start("snapshot");
	struct snapshot_place p = make_snapshot_place();
	char *disk = snapshot_path(&p, "disk"), words[300];
	struct trip_guest guest = {.words = words};
	FILE *f = fopen(disk, "w");
	int pair[2];

	ck_assert_int_eq(ftruncate(fileno(f), 64 << 10), 0);
	fclose(f);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(dup2(pair[1], NET_FD), NET_FD);
	snprintf(words, sizeof(words),
		 "--block:storage=%s --net:service=@%d --net-mac:service=02:00:00:00:0a:0b @solo5-devices -- block", disk, NET_FD);
	trips(&guest, effort(4, 1), &r);
	free(disk);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("snapshot");

	tcase_add_loop_test(tcase, test_round_trips, 0, GUESTS);
	tcase_add_loop_test(tcase, test_chained, 0, sizeof(chained) / sizeof(*chained));
	tcase_add_test(tcase, test_disk);
	tcase_add_test(tcase, test_solo5_devices);
	tcase_set_timeout(tcase, 0);
	return run_case("snapshot", tcase);
}
