/*
 * A unikernel with a disk and a network, recorded while frames come at random times, and replayed without either: it does the same again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "snapshot/reason.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/solo5_bench.h"
#include "tests/vm/suite.h"

#define DISK (32u * SECTOR)

struct recorded {
	struct snapshot_place place; /* the recording is "r" there */
	struct bench bench;
	struct outcome first;
};

static const char *mode_of_test(void)
{
	return mmu_is_shadow() ? "shadow" : "ept";
}

/* The options after `run` have the recording's name in them. */
static struct child start(struct recorded *r, const char *more, const char *words)
{
	char options[300], *line;
	struct child c;

	r->place = make_snapshot_place();
	make_bench(&r->bench, DISK);
	snprintf(options, sizeof(options), "--mmu %s --mem 8M --record %s/r%s", mode_of_test(), r->place.control.directory, more);
	line = line_of(&r->bench, options, words);
	c = child_start(&(struct spawn){.line = line});
	give_away();
	free(line);
	return c;
}

static void send_frame(const struct bench *b, struct random *r)
{
	uint8_t frame[FRAME_MAX];
	size_t size = 14 + random_below(r, sizeof(frame) - 13);

	for (size_t i = 0; i < size; i++)
		frame[i] = (uint8_t)random_next(r);
	send(b->net, frame, size, MSG_NOSIGNAL);
}

static void send_frames(struct recorded *r, struct child *c, struct random *dice, unsigned int count)
{
	while (count--) {
		send_frame(&r->bench, dice);
		if (random_below(dice, 2))
			child_linger(c, (unsigned int)random_below(dice, 25));
	}
}

static void leave(struct recorded *r)
{
	outcome_free(&r->first);
	leave_bench(&r->bench);
	leave_snapshot_place(&r->place);
}

static struct outcome replay(const struct recorded *r, const char *mode)
{
	char line[200];

	snprintf(line, sizeof(line), "replay --mmu %s %s/r", mode, r->place.control.directory);
	return spawn_line(line, "");
}

static void assert_replays(struct recorded *r, unsigned int times)
{
	unlink(r->bench.disk);
	for (unsigned int i = 0; i < times * MMU_MODES; i++) {
		struct outcome o = replay(r, mmu_modes[i % MMU_MODES]);

		ck_assert_msg(o.status == r->first.status && !strcmp(o.out.data, r->first.out.data), "--mmu=%s: %d, not %d: '%s', not '%s': '%s'",
			      mmu_modes[i % MMU_MODES], o.status, r->first.status, o.out.data, r->first.out.data, o.err.data);
		outcome_free(&o);
	}
}

START_TEST(test_frames)
{
	struct random dice = random_start("frames");

	for (unsigned int i = 0; i < effort(3, 1); i++) {
		struct recorded r;
		struct child c = start(&r, "", "log 25");

		child_expect(&c, "log: ready\n");
		send_frames(&r, &c, &dice, 25);
		r.first = child_end(&c);
		ck_assert_msg(r.first.status == 0 && strstr(r.first.out.data, "frame 24 "), "%d '%s' '%s'", r.first.status, r.first.out.data,
			      r.first.err.data);
		assert_replays(&r, effort(20, 2));
		leave(&r);
	}
}
END_TEST

/* Everything else that is done to devices, and what of it is refused. */
START_TEST(test_calls)
{
	static const struct {
		const char *words;
		int status;
	} runs[] = {
		{"block", 0}, {"info", 0}, {"poll 0", 0}, {"poll 60", 0}, {"polls 40", 0}, {"net-raw 2 1514", 0}, {"net-raw 2 1513", 0},
		{"net-raw 1 1514", 0}, {"net-raw 2 18446744073709551615", 126}, {"block-raw 1 1 512", 0}, {"block-raw 1 0 512", 0},
		{"block-raw 1 512 18446744073709551104", 0}, {"block-raw 3 0 512", 0}, {"block-raw 18446744073709551615 0 512", 0},
	};

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		struct recorded r;
		struct child c = start(&r, "", runs[i].words);

		r.first = child_end(&c);
		ck_assert_msg(r.first.status == runs[i].status, "%s: %d '%s' '%s'", runs[i].words, r.first.status, r.first.out.data,
			      r.first.err.data);
		assert_replays(&r, 1);
		leave(&r);
	}
}
END_TEST

/* The other end goes away while it is recorded, and is not there when it is replayed. */
START_TEST(test_gone)
{
	struct recorded r;
	struct child c = start(&r, "", "log 5");

	child_expect(&c, "log: ready\n");
	close(r.bench.net);
	r.bench.net = -1;
	r.first = child_end(&c);
	ck_assert_int_eq(r.first.status, 2);
	assert_replays(&r, 1);
	leave(&r);
}
END_TEST

/* The log without the event that is `nth` of this kind, or cut off there. */
static void spoil(const struct recorded *r, unsigned int nth, bool cut)
{
	char *from = snapshot_path(&r->place, "r/log.right"), *to = snapshot_path(&r->place, "r/log");
	FILE *in = fopen(from, "r"), *out = fopen(to, "w+");
	struct reason why = {.text = ""};
	struct log_reader reader;
	struct log_writer w;
	struct event e;

	ck_assert_int_eq(log_reader_open(&reader, fileno(in), from, &why), 0);
	ck_assert_int_eq(log_writer_open(&w, fileno(out), reader.header.id, reader.header.start, reader.header.position), 0);
	while (log_reader_next(&reader, &e, &why) == 1) {
		bool hit = e.kind == EVENT_EXTERNAL && nth-- == 0;

		if (hit && cut)
			break;
		if (!hit)
			ck_assert_int_eq(log_writer_put(&w, &e), 0);
	}
	ck_assert_int_eq(log_writer_flush(&w), 0);
	log_writer_close(&w);
	log_reader_close(&reader);
	fclose(in);
	fclose(out);
	free(from);
	free(to);
}

static unsigned int count_external(const struct recorded *r)
{
	char *path = snapshot_path(&r->place, "r/log.right");
	FILE *in = fopen(path, "r");
	struct reason why = {.text = ""};
	struct log_reader reader;
	unsigned int count = 0;
	struct event e;

	ck_assert_int_eq(log_reader_open(&reader, fileno(in), path, &why), 0);
	while (log_reader_next(&reader, &e, &why) == 1)
		count += e.kind == EVENT_EXTERNAL;
	log_reader_close(&reader);
	fclose(in);
	free(path);
	return count;
}

/* Whatever is left out is missed, a poll's end too, and nothing waits for what never comes: there is no --timeout. */
START_TEST(test_spoilt)
{
	struct random dice = random_start("spoilt");
	struct recorded r;
	struct child c = start(&r, "", "log 3");
	unsigned int count;
	char command[200];

	child_expect(&c, "log: ready\n");
	child_linger(&c, 30);
	send_frames(&r, &c, &dice, 3);
	r.first = child_end(&c);
	snprintf(command, sizeof(command), "mv %s/r/log %s/r/log.right", r.place.control.directory, r.place.control.directory);
	ck_assert_int_eq(system(command), 0);
	count = count_external(&r);
	for (unsigned int i = 0; i < effort(count, count / 4 + 1); i++) {
		struct outcome o;

		spoil(&r, i % count, i >= count);
		o = replay(&r, mmu_modes[i % MMU_MODES]);
		ck_assert_msg(o.status == 124 && strstr(o.err.data, "replay diverged: after position "), "%u: %d '%s' '%s'", i, o.status, o.out.data,
			      o.err.data);
		outcome_free(&o);
		spoil(&r, i % count, true);
		o = replay(&r, mmu_modes[i % MMU_MODES]);
		ck_assert_msg(o.status == 0 && strstr(o.err.data, "cut off here") && !strncmp(o.out.data, r.first.out.data, o.out.size),
			      "%u, cut off: %d '%s' '%s'", i, o.status, o.out.data, o.err.data);
		outcome_free(&o);
	}
	leave(&r);
}
END_TEST

static size_t same_until(const struct outcome *a, const struct outcome *b)
{
	size_t n = 0;

	while (n < a->out.size && n < b->out.size && a->out.data[n] == b->out.data[n])
		n++;
	return n;
}

/* Killed at any time, it is brought back with its disk and the wire, and what it said before stays said. */
START_TEST(test_recovered)
{
	struct random dice = random_start("recovered");

	for (unsigned int i = 0; i < effort(4, 1); i++) {
		struct recorded r;
		struct child c = start(&r, "", "log 100000");
		struct outcome again;
		char *line;
		int pair[2];

		child_expect(&c, "log: ready\n");
		send_frames(&r, &c, &dice, (unsigned int)random_below(&dice, 40));
		child_linger(&c, (unsigned int)random_below(&dice, 30));
		kill(c.pid, SIGKILL);
		r.first = child_end(&c);
		close(r.bench.net);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		ck_assert_int_eq(dup2(pair[1], NET_FD), NET_FD);
		close(pair[1]);
		r.bench.net = pair[0];
		ck_assert_int_ge(asprintf(&line, "restore --mmu %s --recording %s/r %s/r/start", mmu_modes[random_below(&dice, MMU_MODES)],
					  r.place.control.directory, r.place.control.directory), 0);
		c = child_start(&(struct spawn){.line = line});
		give_away();
		while (c.said.size <= r.first.out.size && !child_has_ended(&c))
			child_linger(&c, 5);
		send_frame(&r.bench, &dice);
		while (!strstr(c.said.data + r.first.out.size, "frame ") && !child_has_ended(&c))
			child_linger(&c, 5);
		kill(c.pid, SIGINT);
		again = child_end(&c);
		ck_assert_msg(again.status == 130 && again.out.size > r.first.out.size && !strncmp(again.out.data, r.first.out.data, r.first.out.size),
			      "%d: not the same from '%.300s' on: '%.500s': '%.500s'", again.status,
			      r.first.out.data + same_until(&r.first, &again), again.out.data + same_until(&r.first, &again), again.err.data);
		outcome_free(&again);
		free(line);
		leave(&r);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_frames, test_calls, test_gone, test_spoilt, test_recovered};

	return RUN_TESTS("solo5_replay", tests);
}
