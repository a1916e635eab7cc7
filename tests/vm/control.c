/* The control socket as users have it: requests to a guest that runs, stands still, waits for its reader, or ends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/effort.h"
#include "tests/vm/flood.h"
#include "tests/vm/suite.h"

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
		assert_ctl_refused(p.path, bad[i], CONTROL_UNKNOWN, p.path);
	assert_ctl_refused(p.path, "mmu nonsense", "no such MMU mode", p.path);
	assert_ctl_refused(p.path, "scavenge", CONTROL_UNKNOWN, p.path);
	assert_ctl_refused(p.path, "scavenge maybe", "scavenge takes on or off", p.path);
	assert_ctl_refused(p.path, "scavenge on", "this run has no scavenger: start it with --scavenge", p.path);
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

/* The guest's own clock knows nothing of the time in which it stood still. */
START_TEST(test_pause_clock)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@shell");
	unsigned long before, after, passed;
	uint64_t start;

	start = monotonic_ns();
	before = child_shell_ms(&c);
	for (int i = 0; i < 3; i++) {
		ask_ok(&p, "pause");
		usleep(300000);
		ask_ok(&p, "resume");
	}
	after = child_shell_ms(&c);
	passed = (unsigned long)((monotonic_ns() - start) / CONTROL_MS);
	ck_assert_uint_ge(after, before);
	ck_assert_msg(after - before <= passed - 900, "%lu ms passed for the guest, %lu here", after - before, passed);
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

		flood_small_pipe(&c);
		flood_await_full(&c);
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

	flood_small_pipe(&c);
	flood_await_full(&c);
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

/* Requests while the guest ends: an answer or the end of the connection, and the guest's own end. */
START_TEST(test_race_with_end)
{
	static const char *const requests[] = {"stats\n", "mmu shadow\nmmu ept\n", "pause\nresume\n", "quit\n"};
	struct random r = random_start("control");
	struct place p = make_place();

	for (unsigned int i = 0; i < effort(60, 12); i++) {
		const char *request = requests[i % 4];
		char line[200], *answer;
		struct child c;
		struct outcome o;
		int fd;

		snprintf(line, sizeof(line), "run --control %s %s@hello -- 5", p.path, i % 3 ? "" : "--count 3 ");
		c = child_start(&(struct spawn){.line = line});
		usleep((useconds_t)random_below(&r, 3000));
		while ((fd = try_connect(p.path)) < 0 && !child_has_ended(&c))
			usleep(200);
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

int main(void)
{
	const TTest *const tests[] = {
		test_ctl, test_stats, test_pause_clock, test_pause_console, test_many_guests,
		test_blocked_output, test_blocked_end, test_race_with_end,
	};

	return RUN_TESTS("control", tests);
}
