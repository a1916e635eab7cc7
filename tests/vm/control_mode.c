/* Changes of the MMU mode by request, with pauses between them: wherever a guest is, it loses nothing by them. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/control_client.h"
#include "tests/vm/flood.h"
#include "tests/vm/suite.h"

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

/* The mode a guest is in is told, and what is counted in shadow mode only then. */
START_TEST(test_mode_is_told)
{
	static const char *const modes[] = {"shadow", "ept", "ept", "shadow"};
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000");

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		const json_t *guest;
		json_t *stats;
		char request[16];

		snprintf(request, sizeof(request), "mmu %s", modes[i]);
		ask_ok(&p, request);
		stats = ask_stats(&p);
		guest = json_array_get(stats, 0);
		ck_assert_str_eq(json_string_value(json_object_get(guest, "mmu_now")), modes[i]);
		ck_assert_int_eq(json_object_get(guest, "shadow") != NULL, !strcmp(modes[i], "shadow"));
		json_decref(stats);
	}
	quit(&p, &c, "clock");
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

/* Pauses and slow reading together: nothing is lost, nothing comes twice. */
START_TEST(test_nothing_lost)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@hostile -- console-flood 60000");
	struct outcome o;

	flood_small_pipe(&c);
	for (int i = 0; i < 8; i++) {
		flood_await_full(&c);
		ask_ok(&p, i % 4 == 1 ? "mmu ept" : i % 4 == 3 ? "mmu shadow" : "pause");
		child_linger(&c, 1);
		ask_ok(&p, "resume");
	}
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, '%s'", o.status, o.err.data);
	flood_assert(&o.out, 60000);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		test_pause, test_mode_is_told, test_random_moments, test_hanging_guests, test_nothing_lost,
	};

	return RUN_TESTS("control_mode", tests);
}
