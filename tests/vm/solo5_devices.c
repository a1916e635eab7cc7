/*
 * The devices of a Solo5 unikernel. Its network leads to the test: a pair of sockets that keep frames apart stands for the TAP
 * interface.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/control_client.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/solo5_bench.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define SECTORS 128u
#define SEED 0x9e3779b97f4a7c15ull

static struct outcome run(const struct bench *b, const char *options, const char *words)
{
	char *line = line_of(b, options, words);
	struct outcome o = spawn_line(line, "");

	free(line);
	return o;
}

/* A guest of another kind that is given the disk. */
static struct outcome run_virtio(const struct bench *b, const char *how)
{
	char line[100];

	snprintf(line, sizeof(line), "run --disk %s%s @disk -- list", b->disk, how);
	return spawn_line(line, "");
}

START_TEST(test_info)
{
	struct bench b;
	struct outcome o;

	make_bench(&b, SECTORS * SECTOR);
	o = run(&b, "--mem 15M", "info");
	assert_outcome(&o, 0, "memory 14680064, cycles known, heap aligned\nstorage 65536 512\nservice 02:00:00:00:0a:0b 1500\n",
		       "info");
	outcome_free(&o);
	o = run(&b, "--block-sector-size:storage=4096", "info");
	ck_assert_ptr_nonnull(strstr(o.out.data, "storage 65536 4096\n"));
	outcome_free(&o);
	leave_bench(&b);
}
END_TEST

/* As the unikernel makes them; written a second time. */
static uint8_t expected_byte(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (uint8_t)*x;
}

START_TEST(test_block)
{
	uint8_t disk[SECTORS * SECTOR];
	struct bench b;
	struct outcome o;
	int fd;

	make_bench(&b, sizeof(disk));
	o = run(&b, "", "block");
	assert_outcome(&o, 0, "block: 65536 bytes written and read\n", "block");
	outcome_free(&o);
	fd = open(b.disk, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read(fd, disk, sizeof(disk)), sizeof(disk));
	close(fd);
	for (uint64_t at = 0; at < sizeof(disk); at += SECTOR) {
		uint64_t x = SEED * (at + 1);

		for (unsigned int i = 0; i < SECTOR; i++)
			ck_assert_uint_eq(disk[at + i], expected_byte(&x));
	}
	leave_bench(&b);
}
END_TEST

/* 2: not valid; 0: done. */
START_TEST(test_block_refused)
{
	static const struct {
		const char *words;
		int result;
	} tries[] = {
		{"block-raw 1 0 512", 0},
		{"block-raw 1 65024 512", 0},
		{"block-raw 1 0 65536", 0},
		{"block-raw 1 0 0", 2},
		{"block-raw 1 0 511", 2},
		{"block-raw 1 0 513", 2},
		{"block-raw 1 1 512", 2},
		{"block-raw 1 65024 1024", 2},
		{"block-raw 1 65536 512", 2},
		{"block-raw 1 0 66048", 2},
		{"block-raw 1 18446744073709551104 512", 2},
		{"block-raw 1 512 18446744073709551104", 2},
		{"block-raw 0 0 512", 2},
		{"block-raw 2 0 512", 2},
		{"block-raw 3 0 512", 2},
		{"block-raw 64 0 512", 2},
		{"block-raw 18446744073709551615 0 512", 2},
	};
	struct bench b;

	make_bench(&b, SECTORS * SECTOR);
	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		struct outcome o = run(&b, "--mem 16M", tries[i].words);
		char says[40];

		snprintf(says, sizeof(says), "block: read %d, write %d\n", tries[i].result, tries[i].result);
		assert_outcome(&o, 0, says, tries[i].words);
		outcome_free(&o);
	}
	leave_bench(&b);
}
END_TEST

/* Sectors that are there, but a buffer that reaches beyond RAM: the unikernel's mistake ends it. */
START_TEST(test_block_beyond_ram)
{
	struct bench b;
	struct outcome o;

	make_bench(&b, 4u << 20);
	o = run(&b, "--mem 4M", "block-raw 1 0 4194304");
	assert_complaint(&o, 126, "block read", "4194304 bytes", "beyond RAM");
	outcome_free(&o);
	leave_bench(&b);
}
END_TEST

START_TEST(test_bad_disks)
{
	struct bench b;
	struct outcome o;
	struct child c;
	char *line;

	make_bench(&b, 0);
	o = run(&b, "", "info");
	assert_complaint(&o, 125, b.disk, "at least 512 bytes", "empty disk");
	outcome_free(&o);
	ck_assert_int_eq(truncate(b.disk, 1000), 0);
	o = run(&b, "", "info");
	assert_complaint(&o, 125, b.disk, "1000 bytes", "odd disk");
	outcome_free(&o);
	ck_assert_int_eq(truncate(b.disk, 1024), 0);
	o = run(&b, "--block-sector-size:storage=4096", "info");
	assert_complaint(&o, 125, b.disk, "sectors of 4096", "disk smaller than a sector");
	outcome_free(&o);
	o = run(&b, "--block-sector-size:storage=1000", "info");
	assert_complaint(&o, 125, "--block-sector-size:storage", "power of two", "odd sector");
	outcome_free(&o);
	/* One guest at a time. */
	line = line_of(&b, "", "net 1");
	c = child_start(&(struct spawn){.line = line});
	child_expect(&c, "net: ready\n");
	o = run(&b, "", "info");
	assert_complaint(&o, 125, b.disk, "another VM uses this disk", "a disk of two guests");
	outcome_free(&o);
	o = run_virtio(&b, "");
	assert_complaint(&o, 125, b.disk, "another VM uses this disk", "a unikernel's disk as a virtio one");
	outcome_free(&o);
	o = run_virtio(&b, ",ro");
	assert_complaint(&o, 125, b.disk, "another VM writes this disk", "a unikernel's disk as a read-only one");
	outcome_free(&o);
	send(b.net, "a frame of an Ethernet", 22, MSG_NOSIGNAL);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
	free(line);
	leave_bench(&b);
}
END_TEST

/* Results: 0 done, 1 nothing there, 2 not valid. */
START_TEST(test_net_refused)
{
	static const struct {
		const char *words;
		int read, write;
	} tries[] = {
		{"net-raw 2 1514", 1, 0},
		{"net-raw 2 1513", 2, 0},
		{"net-raw 2 1515", 1, 2},
		{"net-raw 2 14", 2, 0},
		{"net-raw 2 13", 2, 2},
		{"net-raw 2 0", 2, 2},
		{"net-raw 2 18446744073709551615", -1, -1}, /* no memory is so large */
		{"net-raw 1 1514", 2, 2},
		{"net-raw 0 1514", 2, 2},
		{"net-raw 3 1514", 2, 2},
		{"net-raw 18446744073709551614 1514", 2, 2},
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		char says[40];
		struct outcome o;
		struct bench b;

		make_bench(&b, SECTOR);
		o = run(&b, "", tries[i].words);
		snprintf(says, sizeof(says), "net: read %d, write %d\n", tries[i].read, tries[i].write);
		if (tries[i].read < 0)
			assert_complaint(&o, 126, "net read", "18446744073709551615 bytes", tries[i].words);
		else
			assert_outcome(&o, 0, says, tries[i].words);
		outcome_free(&o);
		leave_bench(&b);
	}
}
END_TEST

START_TEST(test_net)
{
	static const size_t sizes[] = {14, 15, 60, 1000, FRAME_MAX};
	struct bench b;
	struct outcome o;
	struct child c;
	char *line;

	make_bench(&b, SECTOR);
	line = line_of(&b, "", "net 20");
	c = child_start(&(struct spawn){.line = line});
	give_away();
	child_expect(&c, "net: ready\n");
	for (unsigned int i = 0; i < 20; i++)
		exchange(&b, i, sizes[i % 5]);
	o = child_end(&c);
	assert_outcome(&o, 0, "net: ready\n", "net");
	outcome_free(&o);
	free(line);
	leave_bench(&b);
}
END_TEST

/* The other end goes away: the unikernel learns of it and ends itself. */
START_TEST(test_net_gone)
{
	struct bench b;
	struct outcome o;
	struct child c;
	char *line;

	make_bench(&b, SECTOR);
	line = line_of(&b, "", "net 1");
	c = child_start(&(struct spawn){.line = line});
	give_away();
	child_expect(&c, "net: ready\n");
	close(b.net);
	o = child_end(&c);
	assert_outcome(&o, 2, "net: ready\n", "net gone");
	outcome_free(&o);
	free(line);
	leave_bench(&b);
}
END_TEST

START_TEST(test_poll)
{
	struct bench b;
	struct outcome o;

	make_bench(&b, SECTOR);
	o = run(&b, "", "poll 0");
	assert_outcome(&o, 0, "poll: ready 0, in time\n", "poll 0");
	outcome_free(&o);
	o = run(&b, "", "poll 150");
	assert_outcome(&o, 0, "poll: ready 0, in time\n", "poll 150");
	outcome_free(&o);
	/* A frame that has been there before. */
	send(b.net, "a frame of an Ethernet", 22, MSG_NOSIGNAL);
	o = run(&b, "", "poll 3600000");
	assert_outcome(&o, 0, "poll: ready 4, in time\n", "poll with a frame");
	outcome_free(&o);
	leave_bench(&b);
}
END_TEST

/* Who waits in a poll can be ended, paused and moved to the other mode, and the frame still comes. */
START_TEST(test_poll_interrupted)
{
	struct place p = make_place();
	struct bench b;
	struct outcome o;
	struct child c;
	char words[160];

	make_bench(&b, SECTOR);
	o = run(&b, "--timeout 0.3", "net 1");
	assert_complaint(&o, 126, "did not end in time", NULL, "timeout in a poll");
	outcome_free(&o);
	snprintf(words, sizeof(words), "--block:storage=%s --net:service=@%d @solo5-devices -- net 3", b.disk, NET_FD);
	c = start_run(&p, words);
	give_away();
	child_expect(&c, "net: ready\n");
	ask_ok(&p, "pause");
	ask_ok(&p, mmu_is_shadow() ? "mmu ept" : "mmu shadow");
	ask_ok(&p, "resume");
	exchange(&b, 1, 100);
	ask_ok(&p, mmu_is_shadow() ? "mmu shadow" : "mmu ept");
	exchange(&b, 2, 100);
	ask_ok(&p, "mmu shadow");
	exchange(&b, 3, 100);
	end_child(&c, 0);
	leave_bench(&b);
	leave_place(&p);
}
END_TEST

/*
 * A stop may fall into the moment in which a poll is told: shadow mode completes that before the guest runs again, and it must not run on
 * as if it had waited.
 */
START_TEST(test_polls_under_kicks)
{
	struct place p = make_place();
	struct bench b;
	struct outcome o;
	struct child c;
	char words[160];
	unsigned int asked = 0;

	make_bench(&b, SECTOR);
	snprintf(words, sizeof(words), "--block:storage=%s --net:service=@%d @solo5-devices -- polls %u", b.disk, NET_FD, effort(2000, 500));
	c = start_run(&p, words);
	give_away();
	while (!child_has_ended(&c)) {
		ask_quietly(&p, "resume");
		asked++;
	}
	o = child_end(&c);
	assert_outcome(&o, 0, "polls: all in time\n", "polls");
	printf("polls under %u kicks\n", asked);
	outcome_free(&o);
	leave_bench(&b);
	leave_place(&p);
}
END_TEST

START_TEST(test_bad_nets)
{
	static const struct {
		const char *where, *part;
	} tries[] = {
		{"@", "not the number"},	{"@0", "not the number"},     {"@1x", "not the number"},
		{"@-1", "not the number"},	{"@99999999999", "not the number"}, {"@999", "Bad file descriptor"},
		{"penumbra-none", "No such device"}, {"a-name-of-more-than-fifteen", "too long"},
	};
	static const char *const macs[] = {"1", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:00:00", "01:00:00:00:00:00",
					   "02-00-00-00-00-00", "0x:00:00:00:00:00"};
	struct bench b;

	make_bench(&b, SECTOR);
	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		char line[160];
		struct outcome o;

		snprintf(line, sizeof(line), "run --block:storage=%s --net:service=%s @solo5-devices", b.disk, tries[i].where);
		o = spawn_line(line, "");
		assert_complaint(&o, 125, tries[i].where, tries[i].part, line);
		outcome_free(&o);
	}
	for (size_t i = 0; i < sizeof(macs) / sizeof(*macs); i++) {
		char line[200];
		struct outcome o;

		snprintf(line, sizeof(line), "run --block:storage=%s --net:service=@%d --net-mac:service=%s @solo5-devices", b.disk,
			 NET_FD, macs[i]);
		o = spawn_line(line, "");
		assert_complaint(&o, 125, "--net-mac:service", "six bytes", line);
		outcome_free(&o);
	}
	leave_bench(&b);
}
END_TEST

static void pass_nothing(void *arg)
{
	close_range(STDERR_FILENO + 1, ~0u, 0);
}

/* The image, /dev/kvm, the disk's file: open in the program, but none of a guest's business. */
START_TEST(test_own_descriptors)
{
	struct bench b;

	make_bench(&b, SECTOR);
	for (int fd = STDERR_FILENO + 1; fd < 16; fd++) {
		char line[160];
		struct outcome o;

		snprintf(line, sizeof(line), "run --block:storage=%s --net:service=@%d @solo5-devices", b.disk, fd);
		o = spawn(&(struct spawn){.line = line, .prepare = pass_nothing}, "", 0);
		assert_complaint(&o, 125, "Bad file descriptor", NULL, line);
		outcome_free(&o);
	}
	leave_bench(&b);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_info,	  test_block, test_block_refused, test_block_beyond_ram, test_bad_disks, test_net_refused, test_net,
		test_net_gone, test_poll,  test_poll_interrupted, test_polls_under_kicks, test_bad_nets, test_own_descriptors,
	};

	return RUN_TESTS("solo5_devices", tests);
}
