/* The control socket: every request, at every bad moment, by every bad client. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define MS 1000000ull
#define ANSWER_LIMIT_NS (200000 * MS) /* the lab is slow */
#define CLIENTS 8 /* at once, as vmm/control.h has it */
#define UNKNOWN "no such request; known are pause, resume, stats, quit, mmu MODE"

/* A directory with a socket in it, gone after the test. */
struct place {
	char directory[40], path[60];
};

static struct place make_place(void)
{
	struct place p = {.directory = "/tmp/penumbra-control.XXXXXX"};

	ck_assert_ptr_nonnull(mkdtemp(p.directory));
	snprintf(p.path, sizeof(p.path), "%s/socket", p.directory);
	return p;
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* A run removes its socket itself. */
static void leave_place(const struct place *p)
{
	ck_assert_msg(!is_there(p->path), "%s is left behind", p->path);
	ck_assert_msg(rmdir(p->directory) == 0, "%s: %s", p->directory, strerror(errno));
}

static int try_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int connect_to(const struct place *p)
{
	int fd = try_connect(p->path);

	ck_assert_msg(fd >= 0, "%s: %s", p->path, strerror(errno));
	return fd;
}

/* Starts `run --control SOCKET WORDS` and waits until it listens. */
static struct child start_run(const struct place *p, const char *words)
{
	char line[300];
	struct child c;
	int fd;

	snprintf(line, sizeof(line), "run --control %s %s", p->path, words);
	c = child_start(&(struct spawn){.line = line, .limit_s = 400});
	while ((fd = try_connect(p->path)) < 0) {
		ck_assert_msg(!child_has_ended(&c), "%s: ended at once", line);
		usleep(2000);
	}
	close(fd);
	return c;
}

static void send_text(int fd, const void *text, size_t size)
{
	ck_assert_int_eq(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Waits for bytes or the end. Returns as read() does, an end by reset as 0. */
static ssize_t receive(int fd, char *to, size_t room)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	ck_assert_msg(poll(&p, 1, (int)(ANSWER_LIMIT_NS / MS)) == 1, "no answer");
	n = read(fd, to, room);
	return n < 0 ? 0 : n;
}

/* One line without its newline, or NULL at the end. The caller frees it. */
static char *read_answer(int fd)
{
	size_t size = 0, room = 4096;
	char *text = malloc(room);

	while (receive(fd, text + size, 1) == 1) {
		if (text[size] == '\n') {
			text[size] = '\0';
			return text;
		}
		if (++size == room)
			text = realloc(text, room *= 2);
	}
	ck_assert_msg(size == 0, "an answer breaks off: '%.*s'", (int)size, text);
	free(text);
	return NULL;
}

static json_t *parse_answer(char *text)
{
	json_t *answer = json_loads(text, 0, NULL);

	ck_assert_msg(json_is_object(answer), "no JSON object: '%.500s'", text);
	ck_assert(json_is_boolean(json_object_get(answer, "ok")));
	free(text);
	return answer;
}

static json_t *ask_fd(int fd, const char *request)
{
	char *text;

	send_text(fd, request, strlen(request));
	send_text(fd, "\n", 1);
	text = read_answer(fd);
	ck_assert_msg(text, "'%s' was not answered", request);
	return parse_answer(text);
}

static json_t *ask(const struct place *p, const char *request)
{
	int fd = connect_to(p);
	json_t *answer = ask_fd(fd, request);

	close(fd);
	return answer;
}

static void assert_ok(json_t *answer, const char *what)
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	ck_assert_msg(json_is_true(json_object_get(answer, "ok")), "%s: %s", what, error ? error : "no error");
	json_decref(answer);
}

static void ask_ok(const struct place *p, const char *request)
{
	assert_ok(ask(p, request), request);
}

static void assert_error(json_t *answer, const char *error, const char *what)
{
	ck_assert_msg(json_is_false(json_object_get(answer, "ok")), "%s: ok", what);
	ck_assert_str_eq(json_string_value(json_object_get(answer, "error")), error);
	json_decref(answer);
}

/* The statistics of all guests; json_decref() them. */
static json_t *ask_stats(const struct place *p)
{
	json_t *answer = ask(p, "stats"), *guests = json_incref(json_object_get(answer, "guests"));

	ck_assert(json_is_array(guests));
	assert_ok(answer, "stats");
	return guests;
}

static json_int_t number_of(const json_t *object, const char *field)
{
	const json_t *value = json_object_get(object, field);

	ck_assert_msg(json_is_integer(value) && json_integer_value(value) >= 0, "%s is no number", field);
	return json_integer_value(value);
}

static json_int_t ask_position(const struct place *p)
{
	json_t *guests = ask_stats(p);
	json_int_t position = number_of(json_array_get(guests, 0), "positions");

	json_decref(guests);
	return position;
}

/* Waits until the guest has got further than that. */
static void await_progress(const struct place *p, json_int_t position)
{
	uint64_t limit = monotonic_ns() + ANSWER_LIMIT_NS;

	while (ask_position(p) <= position) {
		ck_assert_msg(monotonic_ns() < limit, "the guest does not get on");
		usleep(5000);
	}
}

static void quit(const struct place *p, struct child *c, const char *what)
{
	struct outcome o;

	ask_ok(p, "quit");
	o = child_end(c);
	assert_complaint(&o, 130, "stopped", NULL, what);
	outcome_free(&o);
}

/* `penumbra ctl SOCKET REQUEST` */
static struct outcome ctl(const char *path, const char *request)
{
	char line[400];

	snprintf(line, sizeof(line), "ctl %s %s", path, request);
	return spawn_line(line, NULL);
}

static void assert_ctl(const struct place *p, const char *request, const char *out)
{
	struct outcome o = ctl(p->path, request);

	assert_outcome(&o, 0, out, request);
	ck_assert_msg(o.err.size == 0, "%s: '%s'", request, o.err.data);
	outcome_free(&o);
}

static void assert_ctl_refused(const char *path, const char *request, const char *part, const char *other)
{
	struct outcome o = ctl(path, request);

	assert_complaint(&o, 125, part, other, request);
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}

START_TEST(test_ctl)
{
	static const char *const good[] = {"pause", "pause", "mmu ept", "resume", "resume", "mmu shadow", "mmu shadow", "mmu ept"};
	static const char *const bad[] = {"nonsense", "mmu", "pause now", "mmu ept now", "STATS", "pauses", "stats\ttwice"};
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");
	json_t *guests;
	struct outcome o;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_ctl(&p, good[i], "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_ctl_refused(p.path, bad[i], UNKNOWN, p.path);
	assert_ctl_refused(p.path, "mmu nonsense", "no such MMU mode", p.path);
	o = ctl(p.path, "stats");
	ck_assert_int_eq(o.status, 0);
	guests = json_loads(o.out.data, 0, NULL);
	ck_assert_msg(json_array_size(guests) == 1, "'%s'", o.out.data);
	json_decref(guests);
	outcome_free(&o);
	assert_ctl(&p, "quit", "");
	o = child_end(&c);
	assert_complaint(&o, 130, "stopped", "clock", "quit");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

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
		assert_error(ask_fd(fd, bad[i]), UNKNOWN, bad[i]);
	assert_error(ask_fd(fd, "mmu EPT"), "no such MMU mode", "mmu EPT");
	close(fd);
	quit(&p, &c, "lines");
	leave_place(&p);
}
END_TEST

static void assert_guest(const json_t *guest, unsigned int number)
{
	static const char *const numbers[] = {"number", "positions", "hidden_faults", "pte_writes", "wall_us"};
	const json_t *ended = json_object_get(guest, "ended"), *exits = json_object_get(guest, "exits"), *value;
	const char *name;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		number_of(guest, numbers[i]);
	ck_assert_int_eq(number_of(guest, "number"), number);
	ck_assert_str_eq(json_string_value(json_object_get(ended, "how")), "running");
	ck_assert_str_eq(json_string_value(json_object_get(ended, "whose")), "");
	ck_assert_str_eq(json_string_value(json_object_get(ended, "reason")), "");
	ck_assert_int_eq(number_of(ended, "code"), 0);
	number_of(exits, "interrupted");
	json_object_foreach((json_t *)(uintptr_t)exits, name, value)
		number_of(exits, name);
	ck_assert_uint_ge(json_object_size(guest), 7);
	ck_assert_uint_eq(json_object_size(ended), 4);
}

START_TEST(test_stats)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");
	json_t *first = ask_stats(&p), *second;

	assert_guest(json_array_get(first, 0), 0);
	await_progress(&p, number_of(json_array_get(first, 0), "positions"));
	second = ask_stats(&p);
	assert_guest(json_array_get(second, 0), 0);
	ck_assert_int_gt(number_of(json_array_get(second, 0), "wall_us"), number_of(json_array_get(first, 0), "wall_us"));
	json_decref(first);
	json_decref(second);
	quit(&p, &c, "stats");
	leave_place(&p);
}
END_TEST

/* A paused guest does nothing at all, as often as one looks; afterwards it goes on. */
START_TEST(test_pause)
{
	static const char *const guests[] = {"@clock -- 1000000000", "@hostile -- interrupt-storm 1000000000"};
	struct place p = make_place();

	for (size_t i = 0; i < sizeof(guests) / sizeof(*guests); i++) {
		struct child c = start_run(&p, guests[i]);

		await_progress(&p, 0);
		for (int round = 0; round < 4; round++) {
			json_int_t position;

			ask_ok(&p, "pause");
			position = ask_position(&p);
			usleep(150000);
			ck_assert_int_eq(ask_position(&p), position);
			ask_ok(&p, round % 2 ? "mmu ept" : "mmu shadow");
			/* The state exists between two instructions: one that was under way is completed first. */
			ck_assert_int_ge(ask_position(&p), position);
			ck_assert_int_le(ask_position(&p), position + 1);
			ask_ok(&p, "resume");
			await_progress(&p, position);
		}
		quit(&p, &c, guests[i]);
	}
	leave_place(&p);
}
END_TEST

static unsigned long guest_ms(struct child *c)
{
	size_t at;

	child_send(c, "time\n", 5);
	child_expect(c, "time\n");
	at = c->expected;
	child_expect(c, " ms\n");
	return strtoul(c->said.data + at, NULL, 10);
}

/* The guest's own clock knows nothing of the time in which it stood still. */
START_TEST(test_pause_clock)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@shell");
	unsigned long before, after, passed;
	uint64_t start;

	start = monotonic_ns();
	before = guest_ms(&c);
	for (int i = 0; i < 3; i++) {
		ask_ok(&p, "pause");
		usleep(700000);
		ask_ok(&p, "resume");
	}
	after = guest_ms(&c);
	passed = (unsigned long)((monotonic_ns() - start) / MS);
	ck_assert_uint_ge(after, before);
	ck_assert_msg(after - before <= passed - 2100, "%lu ms passed for the guest, %lu here", after - before, passed);
	quit(&p, &c, "clock");
	leave_place(&p);
}
END_TEST

/* Input that comes in a pause waits; a pause shows what was printed before it. */
START_TEST(test_pause_console)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	struct outcome o;

	ask_ok(&p, "pause");
	child_send(&c, "waits\nexit 9\n", 13);
	child_linger(&c, 200);
	ck_assert_uint_eq(c.said.size, 0);
	ask_ok(&p, "resume");
	o = child_end(&c);
	assert_outcome(&o, 9, "waits\n", "input in a pause");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Requests at random moments, faster than timers: none may cost the guest a tick that never comes. */
START_TEST(test_random_moments)
{
	static const char *const requests[] = {"pause", "resume", "stats", "mmu ept", "mmu shadow", "resume"};
	struct random r = random_start("control");
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 400 1000");
	int fd = connect_to(&p);
	struct outcome o;

	for (int i = 0; i < 150; i++) {
		const char *request = requests[random_below(&r, 6)];
		char line[20], *answer;

		snprintf(line, sizeof(line), "%s\n", request);
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || !(answer = read_answer(fd)))
			break;
		json_decref(parse_answer(answer));
		usleep((useconds_t)random_below(&r, 3000));
	}
	(void)!send(fd, "resume\n", 7, MSG_NOSIGNAL);
	o = child_end(&c);
	assert_outcome(&o, 0, "clock: 400 ticks at 1000 Hz, 3 spinning threads all got on\n", "random moments");
	outcome_free(&o);
	close(fd);
	leave_place(&p);
}
END_TEST

START_TEST(test_many_guests)
{
	struct place p = make_place();
	struct child c = start_run(&p, "--count 20 --mem 4M @clock -- 1000000000");
	json_t *before, *after;
	struct outcome o;

	ask_ok(&p, "mmu shadow");
	ask_ok(&p, "pause");
	before = ask_stats(&p);
	usleep(100000);
	after = ask_stats(&p);
	ck_assert_uint_eq(json_array_size(before), 20);
	ck_assert_uint_eq(json_array_size(after), 20);
	for (unsigned int i = 0; i < 20; i++) {
		assert_guest(json_array_get(after, i), i);
		ck_assert_int_eq(number_of(json_array_get(after, i), "positions"),
				 number_of(json_array_get(before, i), "positions"));
	}
	json_decref(before);
	json_decref(after);
	ask_ok(&p, "resume");
	await_progress(&p, ask_position(&p));
	ask_ok(&p, "quit");
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	for (unsigned int i = 0; i < 20; i++) {
		char part[30];

		snprintf(part, sizeof(part), "clock #%u: stopped", i);
		ck_assert_msg(strstr(o.err.data, part), "'%s' is not in '%s'", part, o.err.data);
	}
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Wherever a guest hangs: halted, spinning in ring 3, in ring 0 with interrupts off. */
START_TEST(test_hanging_guests)
{
	static const char *const guests[] = {"@echo", "@compute -- 1000000000", "@hostile -- endless-cli"};
	static const char *const requests[] = {"stats", "pause", "stats", "mmu ept", "mmu shadow", "resume",
					       "mmu ept", "stats", "mmu shadow"};
	struct place p = make_place();

	for (size_t i = 0; i < 2 * sizeof(guests) / sizeof(*guests); i++) {
		const char *guest = guests[i / 2];
		struct child c = start_run(&p, guest);

		child_linger(&c, 100);
		for (size_t n = 0; n < sizeof(requests) / sizeof(*requests); n++)
			ask_ok(&p, requests[n]);
		if (i % 2)
			ask_ok(&p, "pause");
		quit(&p, &c, guest);
	}
	leave_place(&p);
}
END_TEST

/* Until the child has filled the pipe that nobody reads, and stands still. */
static void await_full(const struct child *c)
{
	int size = 0, last;

	do {
		last = size;
		usleep(100000);
		ck_assert_int_eq(ioctl(c->out, FIONREAD, &size), 0);
		ck_assert_msg(monotonic_ns() < c->deadline_ns, "the guest prints nothing");
	} while (size == 0 || size != last);
}

/* Nobody reads the guest's output: it waits, and all requests are answered. */
START_TEST(test_blocked_output)
{
	static const char *const guests[] = {"@hostile -- console-flood 100000000",
					     "--count 3 @hostile -- console-flood 100000000"};
	struct place p = make_place();

	for (size_t i = 0; i < 2 * sizeof(guests) / sizeof(*guests); i++) {
		struct child c = start_run(&p, guests[i / 2]);
		json_int_t position;
		struct outcome o;

		fcntl(c.out, F_SETPIPE_SZ, 4096);
		await_full(&c);
		position = ask_position(&p);
		ask_ok(&p, "mmu shadow");
		ask_ok(&p, "pause");
		usleep(50000);
		ck_assert_int_eq(ask_position(&p), position);
		if (i % 2)
			ask_ok(&p, "resume");
		ask_ok(&p, "quit");
		while (!child_has_ended(&c))
			usleep(1000);
		o = child_end(&c);
		ck_assert_msg(o.status == 130, "%s: status %d, '%s'", guests[i / 2], o.status, o.err.data);
		outcome_free(&o);
	}
	leave_place(&p);
}
END_TEST

/* A guest that has ended by itself, but whose last words nobody takes: it can still be asked and ended. */
START_TEST(test_blocked_end)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@hostile -- console-flood 4500");
	struct outcome o;

	fcntl(c.out, F_SETPIPE_SZ, 4096);
	await_full(&c);
	usleep(50000);
	json_decref(ask_stats(&p));
	json_decref(ask(&p, "pause"));
	ask_ok(&p, "quit");
	o = child_end(&c);
	ck_assert_msg(o.status == 0 || o.status == 130, "status %d, '%s'", o.status, o.err.data);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Pauses and slow reading together: nothing is lost, nothing comes twice. */
START_TEST(test_nothing_lost)
{
	static const char line[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";
	struct place p = make_place();
	struct child c = start_run(&p, "@hostile -- console-flood 60000");
	struct outcome o;

	fcntl(c.out, F_SETPIPE_SZ, 4096);
	for (int i = 0; i < 8; i++) {
		await_full(&c);
		ask_ok(&p, i % 4 == 1 ? "mmu ept" : i % 4 == 3 ? "mmu shadow" : "pause");
		child_linger(&c, 1);
		ask_ok(&p, "resume");
	}
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, '%s'", o.status, o.err.data);
	ck_assert_uint_eq(o.out.size, 60000);
	for (size_t i = 0; i < o.out.size; i++)
		ck_assert_msg(o.out.data[i] == line[i % 64], "byte %zu is %d", i, o.out.data[i]);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Requests while the guest ends: an answer or the end of the connection, and the guest's own end. */
START_TEST(test_race_with_end)
{
	static const char *const requests[] = {"stats\n", "mmu shadow\nmmu ept\n", "pause\nresume\n", "quit\n"};
	struct random r = random_start("control");
	struct place p = make_place();

	for (int i = 0; i < 60; i++) {
		const char *request = requests[i % 4];
		char line[200], *answer;
		struct child c;
		struct outcome o;
		int fd;

		snprintf(line, sizeof(line), "run --control %s %s@hello -- 5", p.path, i % 3 ? "" : "--count 3 ");
		c = child_start(&(struct spawn){.line = line});
		usleep((useconds_t)random_below(&r, 3000));
		do
			fd = try_connect(p.path);
		while (fd < 0 && !child_has_ended(&c));
		while (fd >= 0 && send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 && (answer = read_answer(fd)))
			json_decref(parse_answer(answer));
		close(fd);
		o = child_end(&c);
		ck_assert_msg(o.status == 5 || (i % 4 == 3 && o.status == 130), "%s: status %d, '%s'", request, o.status,
			      o.err.data);
		outcome_free(&o);
	}
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
	assert_error(parse_answer(read_answer(fd)), UNKNOWN, "bogus");
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
	assert_dropped(&p, long_line, 256);
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

static void end_child(struct child *c, int status)
{
	struct outcome o = child_end(c);

	ck_assert_msg(o.status == status, "status %d, not %d; '%s'", o.status, status, o.err.data);
	outcome_free(&o);
}

START_TEST(test_stale_socket)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	struct outcome o;
	char line[200];

	kill(c.pid, SIGKILL);
	end_child(&c, SPAWN_SIGNAL + SIGKILL);
	ck_assert(is_there(p.path));
	assert_ctl_refused(p.path, "stats", p.path, "no run listens");
	snprintf(line, sizeof(line), "run --control %s @hello", p.path);
	o = spawn_line(line, NULL);
	assert_outcome(&o, 0, "hello, world\n", "in place of a stale socket");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

static void assert_run_refused(const char *path, const char *why)
{
	char line[500];
	struct outcome o;

	snprintf(line, sizeof(line), "run --control=%s @hello", path);
	o = spawn_line(line, NULL);
	assert_complaint(&o, 125, path, why, path);
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}

/* What is there already stays as it is. */
START_TEST(test_bad_places)
{
	static const char precious[] = "precious\n";
	char content[20] = "", long_path[200];
	struct place p = make_place();
	FILE *file = fopen(p.path, "w");
	struct child c;

	fputs(precious, file);
	fclose(file);
	assert_run_refused(p.path, "already");
	file = fopen(p.path, "r");
	ck_assert_ptr_nonnull(fgets(content, sizeof(content), file));
	fclose(file);
	ck_assert_str_eq(content, precious);
	assert_ctl_refused(p.path, "stats", p.path, NULL);
	unlink(p.path);
	assert_run_refused(p.directory, "already");
	assert_run_refused("/tmp/penumbra-no-such-directory/socket", "No such file or directory");
	assert_run_refused("", "name of a file");
	memset(long_path, 'x', sizeof(long_path));
	memcpy(long_path, "/tmp/", 5);
	long_path[108] = '\0';
	assert_run_refused(long_path, "107 bytes");
	assert_ctl_refused(long_path, "stats", "107 bytes", NULL);
	ck_assert_int_eq(symlink("nowhere", p.path), 0);
	assert_run_refused(p.path, "already");
	unlink(p.path);
	c = start_run(&p, "@echo");
	assert_run_refused(p.path, "already");
	ask_ok(&p, "stats");
	quit(&p, &c, "bad places");
	leave_place(&p);
}
END_TEST

START_TEST(test_permissions)
{
	struct place p = make_place();
	mode_t old = umask(0);
	struct child c = start_run(&p, "@echo");
	struct stat st;

	umask(old);
	ck_assert_int_eq(lstat(p.path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
	quit(&p, &c, "permissions");
	leave_place(&p);
}
END_TEST

/* Somebody removes the socket, another run makes one in its place: that is not the first one's to remove. */
START_TEST(test_replaced_socket)
{
	struct place p = make_place();
	struct child first = start_run(&p, "@echo"), second;

	unlink(p.path);
	second = start_run(&p, "@echo");
	kill(first.pid, SIGTERM);
	end_child(&first, 130);
	ck_assert_msg(is_there(p.path), "another run's socket was removed");
	quit(&p, &second, "replaced");
	leave_place(&p);
}
END_TEST

START_TEST(test_longest_name)
{
	struct place p = make_place();
	struct child c;
	char line[300], path[108];
	struct outcome o;
	int fd;

	memset(path, 'x', sizeof(path));
	memcpy(path, p.directory, strlen(p.directory));
	path[strlen(p.directory)] = '/';
	path[107] = '\0';
	snprintf(line, sizeof(line), "run --control %s @echo", path);
	c = child_start(&(struct spawn){.line = line});
	while ((fd = try_connect(path)) < 0)
		usleep(1000);
	close(fd);
	o = ctl(path, "quit");
	assert_outcome(&o, 0, "", "the longest name");
	outcome_free(&o);
	end_child(&c, 130);
	leave_place(&p);
}
END_TEST

/* Another program in the place of a run, which says this and goes. */
static void serve(int listener, const char *words)
{
	int fd = accept(listener, NULL, NULL);
	char request[100];

	ck_assert_int_ge(fd, 0);
	if (words) {
		ck_assert_int_gt(receive(fd, request, sizeof(request)), 0);
		send_text(fd, words, strlen(words));
	}
	close(fd);
}

START_TEST(test_ctl_errors)
{
	static const struct {
		const char *words, *complaint;
	} cases[] = {{NULL, "the run ended before it answered"},
		     {"", "the run ended before it answered"},
		     {"\n", "an answer that makes no sense"},
		     {"[]\n", "an answer that makes no sense"},
		     {"{\"ok\": 7, \"error\": {}}\n", "an answer that makes no sense"},
		     {"{\"ok\": false, \"error\": \"be\\u0007ep\"}\n", "be?ep"}};
	struct place p = make_place();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct outcome o;
	char line[200];

	assert_ctl_refused(p.path, "stats", p.path, "No such file or directory");
	strcpy(address.sun_path, p.path);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_ctl_refused(p.path, "stats", p.path, "no run listens");
	listen(listener, 5);
	snprintf(line, sizeof(line), "ctl %s stats", p.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct child c = child_start(&(struct spawn){.line = line});

		serve(listener, cases[i].words);
		o = child_end(&c);
		assert_complaint(&o, 125, cases[i].complaint, p.path, "an odd answer");
		outcome_free(&o);
	}
	close(listener);
	unlink(p.path);
	o = spawn_line("ctl", NULL);
	assert_complaint(&o, 125, "ctl", "--help", "no words");
	outcome_free(&o);
	o = spawn_line("ctl socket", NULL);
	assert_complaint(&o, 125, "ctl", "--help", "no request");
	outcome_free(&o);
	o = spawn_line("ctl  stats", NULL);
	assert_complaint(&o, 125, "name is empty", NULL, "an empty name");
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
	unsigned int fds, threads;

	/* Some kernels give the process a thread of theirs when the guest first runs. */
	await_progress(&p, 0);
	fds = count_entries(c.pid, "fd");
	threads = count_entries(c.pid, "task");
	for (int i = 0; i < 200; i++) {
		ask_ok(&p, i % 3 ? "stats" : "mmu ept");
		close(connect_to(&p));
	}
	usleep(50000);
	/* One more or less: whether the last client's end has been seen yet. */
	ck_assert_uint_le(count_entries(c.pid, "fd"), fds + 1);
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

/* Out of file descriptors: a client that cannot be accepted waits and costs nothing. */
START_TEST(test_no_files_left)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@echo");
	int first = connect_to(&p), second;
	struct rlimit limit;
	uint64_t before;

	assert_ok(ask_fd(first, "stats"), "first");
	limit.rlim_cur = limit.rlim_max = count_entries(c.pid, "fd") - 2; /* without . and .. */
	ck_assert_int_eq(prlimit(c.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	before = cpu_ns(c.pid);
	second = connect_to(&p);
	send_text(second, "stats\n", 6);
	usleep(500000);
	ck_assert_uint_lt(cpu_ns(c.pid) - before, 100 * MS);
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
	const TTest *const all[] = {
		test_ctl, test_lines, test_stats, test_pause, test_pause_clock, test_pause_console, test_random_moments,
		test_many_guests, test_hanging_guests, test_blocked_output, test_blocked_end, test_nothing_lost,
		test_race_with_end, test_pipelined, test_half_closed, test_many_clients, test_silent_clients,
		test_late_reader, test_hostile_clients, test_stale_socket, test_bad_places, test_permissions, test_replaced_socket,
		test_longest_name,
		test_ctl_errors, test_leaks, test_no_files_left,
	};

	return RUN_TESTS("control", all);
}
