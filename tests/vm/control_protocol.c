/* The control socket's protocol: every line, at every bad moment, by every bad client. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/effort.h"
#include "tests/vm/suite.h"
#include "vmm/control.h"

#define CLIENTS 8 /* at once, as vmm/control.h has it */

/* As the protocol has it: blanks do not matter, case does. */
START_TEST(test_lines)
{
	static const char *const good[] = {"pause", " resume", "resume ", "  mmu \t ept \r", "pause\r", "resume\t"};
	static const char *const bad[] = {"", " ", "\r", "Pause", "resume;", "{\"stats\": 1}", "quit quit"};
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	int fd = connect_to(&p);

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_ok(ask_fd(fd, good[i]), good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_error(ask_fd(fd, bad[i]), CONTROL_UNKNOWN, bad[i]);
	assert_error(ask_fd(fd, "mmu EPT"), "no such MMU mode", "mmu EPT");
	close(fd);
	quit(&p, &c, "lines");
	leave_place(&p);
}
END_TEST

/* Many requests at once, good and bad, cut anywhere: answered one by one, in order. */
START_TEST(test_pipelined)
{
	static const struct {
		const char *line;
		bool ok, stats;
	} kinds[] = {{"pause\n", true, false}, {"stats\n", true, true}, {"bogus\n", false, false},
		     {"resume\n", true, false}, {"mmu no\n", false, false}, {"\n", false, false}, {"mmu ept\n", true, false}};
	struct random r = random_start("control");
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");
	int fd = connect_to(&p), kind[300];
	char text[4000];
	size_t size = 0;

	for (int i = 0; i < 300; i++) {
		kind[i] = (int)random_below(&r, 7);
		size += (size_t)snprintf(text + size, sizeof(text) - size, "%s", kinds[kind[i]].line);
	}
	for (size_t at = 0, n; at < size; at += n) {
		n = 1 + random_below(&r, 400);
		n = n < size - at ? n : size - at;
		send_text(fd, text + at, n);
	}
	for (int i = 0; i < 300; i++) {
		json_t *answer = parse_answer(read_answer(fd));

		ck_assert_int_eq(json_is_true(json_object_get(answer, "ok")), kinds[kind[i]].ok);
		ck_assert_int_eq(json_is_array(json_object_get(answer, "guests")), kinds[kind[i]].stats);
		json_decref(answer);
	}
	close(fd);
	quit(&p, &c, "pipelined");
	leave_place(&p);
}
END_TEST

/* The last lines count, even if the client says at once that no more will come. */
START_TEST(test_half_closed)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	int fd = connect_to(&p);

	send_text(fd, "stats\nbogus\npause\nhalf a line", 29);
	shutdown(fd, SHUT_WR);
	assert_ok(parse_answer(read_answer(fd)), "stats");
	assert_error(parse_answer(read_answer(fd)), CONTROL_UNKNOWN, "bogus");
	assert_ok(parse_answer(read_answer(fd)), "pause");
	ck_assert_ptr_null(read_answer(fd));
	close(fd);
	quit(&p, &c, "half closed");
	leave_place(&p);
}
END_TEST

/* More than there are slots for, all asking. */
START_TEST(test_many_clients)
{
	struct place p = make_place();
	struct child c = start_run(&p, "--count 3 @clock -- 1000000000"), clients[3 * CLIENTS];
	struct outcome o;
	char line[200];

	snprintf(line, sizeof(line), "ctl %s stats", p.path);
	for (int i = 0; i < 3 * CLIENTS; i++)
		clients[i] = child_start(&(struct spawn){.line = line});
	for (int i = 0; i < 3 * CLIENTS; i++) {
		json_t *guests;

		o = child_end(&clients[i]);
		ck_assert_msg(o.status == 0, "client %d: '%s'", i, o.err.data);
		guests = json_loads(o.out.data, 0, NULL);
		ck_assert_uint_eq(json_array_size(guests), 3);
		json_decref(guests);
		outcome_free(&o);
	}
	ask_ok(&p, "quit");
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Clients that are silent, and ones that do not read, hold nobody up for long; who is active stays. */
START_TEST(test_silent_clients)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");
	int silent[3 * CLIENTS], active = connect_to(&p);

	for (int i = 0; i < 3 * CLIENTS; i++)
		silent[i] = connect_to(&p);
	for (int i = 0; i < 30; i++) {
		assert_ok(ask_fd(active, "stats"), "active");
		usleep(100000);
	}
	ask_ok(&p, "stats");
	for (int i = 0; i < 3 * CLIENTS; i++)
		close(silent[i]);
	close(active);
	quit(&p, &c, "silent");
	leave_place(&p);
}
END_TEST

/* Sends requests until nothing more goes in, reading nothing. Returns how many. */
static unsigned int stuff(int fd)
{
	unsigned int sent = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int idle = 0; idle < 20; idle++) {
		for (; sent < 20000 && send(fd, "stats\n", 6, MSG_NOSIGNAL) == 6; sent++)
			idle = 0;
		usleep(10000);
	}
	return sent;
}

/* A client that reads late gets every answer whole; others do not notice it. */
START_TEST(test_late_reader)
{
	struct place p = make_place();
	struct child c = start_run(&p, "--count 20 --mem 4M @echo");
	int fd = connect_to(&p);
	unsigned int sent = stuff(fd);
	struct outcome o;

	ck_assert_uint_gt(sent, 200);
	ask_ok(&p, "stats");
	for (unsigned int i = 0; i < 100; i++)
		assert_ok(parse_answer(read_answer(fd)), "late");
	close(fd);
	ask_ok(&p, "quit");
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Drops the client for what it sends. */
static void assert_dropped(const struct place *p, const char *bytes, size_t size)
{
	int fd = connect_to(p);
	char answer[256];

	(void)!send(fd, bytes, size, MSG_NOSIGNAL);
	while (receive(fd, answer, sizeof(answer)) > 0)
		;
	close(fd);
}

static void send_garbage(const struct place *p, struct random *r)
{
	char bytes[600];
	size_t size = 1 + random_below(r, sizeof(bytes));
	int fd = connect_to(p);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(random_below(r, 20) ? random_next(r) : '\n');
	(void)!send(fd, bytes, size, MSG_NOSIGNAL);
	if (random_below(r, 2))
		usleep(1000);
	close(fd);
}

START_TEST(test_hostile_clients)
{
	struct random r = random_start("control");
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 100");
	static char long_line[10000];
	struct outcome o;
	int half;

	memset(long_line, 'a', sizeof(long_line));
	assert_dropped(&p, long_line, sizeof(long_line));
	memset(long_line, ' ', sizeof(long_line));
	assert_dropped(&p, long_line, CONTROL_MAX_LINE);
	assert_dropped(&p, "stats\0\n", 7);
	assert_dropped(&p, "\0\n", 2);
	assert_dropped(&p, "bogus\nst\0ats\n", 13);
	for (int i = 0; i < 100; i++)
		close(connect_to(&p));
	for (int i = 0; i < 100; i++)
		send_garbage(&p, &r);
	for (int i = 0; i < 20; i++) {
		int fd = connect_to(&p);

		send_text(fd, "stats\nstats\n", 12);
		close(fd);
	}
	half = connect_to(&p);
	send_text(half, "sta", 3);
	ask_ok(&p, "stats");
	close(half);
	/* A line of 255 bytes is a line. */
	memcpy(long_line, "stats", 5);
	long_line[255] = '\0';
	assert_ok(ask(&p, long_line), "255 bytes");
	o = child_end(&c);
	assert_outcome(&o, 0, "clock: 100 ticks at 100 Hz, 3 spinning threads all got on\n", "hostile clients");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

static unsigned int count_entries(pid_t pid, const char *what)
{
	unsigned int count = 0;
	char path[60];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

START_TEST(test_leaks)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");
	uint64_t limit = monotonic_ns() + CONTROL_LIMIT_NS;
	unsigned int fds, threads;

	/* Some kernels give the process a thread of theirs when the guest first runs. */
	await_progress(&p, 0);
	fds = count_entries(c.pid, "fd");
	threads = count_entries(c.pid, "task");
	for (unsigned int i = 0; i < effort(200, 60); i++) {
		ask_ok(&p, i % 3 ? "stats" : "mmu ept");
		close(connect_to(&p));
	}
	/* The ends of the last clients are seen when the program gets to it. */
	while (count_entries(c.pid, "fd") > fds) {
		ck_assert_msg(monotonic_ns() < limit, "descriptors are left behind");
		usleep(5000);
	}
	ck_assert_uint_eq(count_entries(c.pid, "task"), threads);
	quit(&p, &c, "leaks");
	leave_place(&p);
}
END_TEST

static uint64_t cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	ck_assert_int_eq(clock_getcpuclockid(pid, &clock), 0);
	ck_assert_int_eq(clock_gettime(clock, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* One that asks again and again uses all the time there is, however often one looks. */
static void assert_rests(pid_t pid)
{
	uint64_t used = 0;

	for (int look = 0; look < 10; look++) {
		uint64_t before = cpu_ns(pid);

		usleep(500000);
		used = cpu_ns(pid) - before;
		if (used < 100 * CONTROL_MS)
			return;
	}
	ck_abort_msg("%llu ms of processor time in half a second", (unsigned long long)(used / CONTROL_MS));
}

/* Out of file descriptors: a client that cannot be accepted waits and costs nothing. */
START_TEST(test_no_files_left)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	int first = connect_to(&p), second;
	struct rlimit limit;

	assert_ok(ask_fd(first, "stats"), "first");
	limit.rlim_cur = limit.rlim_max = count_entries(c.pid, "fd") - 2; /* without . and .. */
	ck_assert_int_eq(prlimit(c.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	second = connect_to(&p);
	send_text(second, "stats\n", 6);
	assert_rests(c.pid);
	assert_ok(ask_fd(first, "stats"), "first");
	close(first);
	assert_ok(parse_answer(read_answer(second)), "second");
	close(second);
	quit(&p, &c, "no files left");
	leave_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_lines, test_pipelined, test_half_closed, test_many_clients,
		test_silent_clients, test_late_reader, test_hostile_clients, test_leaks,
		test_no_files_left,
	};

	return RUN_TESTS("control_protocol", tests);
}
