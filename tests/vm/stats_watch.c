/* `ctl stats --watch` of real runs: as JSON for programs, as a table on a terminal; how it ends. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/control_client.h"
#include "tests/vm/suite.h"

/* Lines that come after each other, until the run ends. */
START_TEST(test_lines)
{
	struct place p = make_place();
	struct child c = start_run(&p, "--count 2 --mem 4M @clock -- 1000000000"), watcher;
	json_int_t before = -1;
	char line[120], *rest;
	struct outcome o;

	snprintf(line, sizeof(line), "ctl %s stats --watch=50", p.path);
	watcher = child_start(&(struct spawn){.line = line});
	for (int i = 0; i < 4; i++)
		child_expect(&watcher, "\n");
	ask_ok(&p, "quit");
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
	o = child_end(&watcher);
	ck_assert_msg(o.status == 0 && o.err.size == 0, "status %d, '%s'", o.status, o.err.data);
	rest = o.out.data;
	for (char *end; (end = strchr(rest, '\n')); rest = end + 1) {
		json_t *guests = json_loadb(rest, (size_t)(end - rest), 0, NULL);

		ck_assert_msg(json_array_size(guests) == 2, "'%s'", rest);
		ck_assert_int_gt(number_of(json_array_get(guests, 1), "wall_us"), before);
		before = number_of(json_array_get(guests, 1), "wall_us");
		json_decref(guests);
	}
	ck_assert_str_eq(rest, "");
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

/* Ctrl-C ends it, and nothing else. */
START_TEST(test_terminal)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000"), watcher;
	char line[120];
	struct outcome o;

	snprintf(line, sizeof(line), "ctl %s stats --watch=50", p.path);
	watcher = child_start(&(struct spawn){.line = line, .in = SPAWN_TTY});
	child_expect(&watcher, "guest mode ");
	child_expect(&watcher, " exits/s\033[K\r\n    0 ");
	child_expect(&watcher, "-\033[K\r\n\033[J");
	ask_ok(&p, "mmu shadow");
	child_expect(&watcher, "\r\033[2Aguest mode ");
	child_expect(&watcher, "    0 shadow ");
	child_send(&watcher, "\x03", 1);
	o = child_end(&watcher);
	ck_assert_msg(o.status == 0 && o.err.size == 0, "status %d, '%s'", o.status, o.err.data);
	outcome_free(&o);
	json_decref(ask_stats(&p));
	quit(&p, &c, "watched");
	leave_place(&p);
}
END_TEST

/* Others, who only keep silent, take its place at the socket while it waits for the next time; it comes back. */
START_TEST(test_is_dropped)
{
	struct place p = make_place();
	struct child c = start_run(&p, "@clock -- 1000000000"), watcher;
	char line[120];
	struct outcome o;
	int fd[8];

	snprintf(line, sizeof(line), "ctl %s stats --watch=2000", p.path);
	watcher = child_start(&(struct spawn){.line = line});
	child_expect(&watcher, "\n");
	for (int i = 0; i < 8; i++)
		fd[i] = connect_to(&p);
	child_expect(&watcher, "\n");
	child_expect(&watcher, "\n");
	for (int i = 0; i < 8; i++)
		close(fd[i]);
	quit(&p, &c, "watched");
	o = child_end(&watcher);
	ck_assert_msg(o.status == 0 && o.err.size == 0, "status %d, '%s'", o.status, o.err.data);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_lines, test_terminal, test_is_dropped};

	return RUN_TESTS("stats_watch", tests);
}
