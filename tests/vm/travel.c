/*
 * A replayed guest under a debugger, against a list of all that it does: its registers after each instruction from the first to the last,
 * taken by stepping once. From then on wherever it is sent, on or back, by steps, breakpoints or watchpoints, it has to stand where the list
 * says, with all registers as they were there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gdb_client.h"
#include "tests/unit/random.h"
#include "tests/vm/debugged.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"

#define VAULT "8000200000" /* of bank: the first page of its heap */

struct moment {
	char *registers;
	char rip[17]; /* as gdb's packets have it */
	char *watched;
};

struct history {
	struct debugged *debugged;
	struct moment *moment;
	size_t count, room;
	size_t last; /* where it stands when the recording has ended */
	size_t now;
	const char *watched; /* address, 8 bytes; NULL: nothing */
};

static void watch(struct history *h, struct gdb_client *c, struct moment *m)
{
	char question[40];

	if (!h->watched)
		return;
	snprintf(question, sizeof(question), "m%s,8", h->watched);
	m->watched = strdup(client_ask(c, question));
}

static void add(struct history *h, struct gdb_client *c)
{
	struct moment m = {.registers = strdup(client_ask(c, "g"))};

	memcpy(m.rip, m.registers + DEBUGGED_RIP, 16);
	watch(h, c, &m);
	if (h->count == h->room) {
		h->room = 2 * h->room + 100;
		h->moment = realloc(h->moment, h->room * sizeof(*h->moment));
	}
	h->moment[h->count++] = m;
}

static bool is_end(const char *answer)
{
	return strstr(answer, "replaylog:end");
}

static bool is_begin(const char *answer)
{
	return strstr(answer, "replaylog:begin");
}

/* Where the guest stands, if that is one of the moments; the last of those that look the same. */
static size_t find(const struct history *h, const char *registers)
{
	for (size_t i = h->count; i--;) {
		if (!strcmp(h->moment[i].registers, registers))
			return i;
	}
	ck_abort_msg("the guest stands where it never was");
}

static struct history take_history(struct debugged *d, const char *watched)
{
	struct history h = {.debugged = d, .watched = watched};

	do
		add(&h, &d->gdb);
	while (!is_end(client_ask(&d->gdb, "s")));
	h.last = h.now = find(&h, client_ask(&d->gdb, "g"));
	return h;
}

static void free_history(struct history *h)
{
	for (size_t i = 0; i < h->count; i++) {
		free(h->moment[i].registers);
		free(h->moment[i].watched);
	}
	free(h->moment);
}

/* Where else it stands, for the message: h->count if it never did. */
static size_t look_up(const struct history *h, const char *registers)
{
	size_t i = 0;

	while (i < h->count && strcmp(h->moment[i].registers, registers))
		i++;
	return i;
}

static void expect_at(struct history *h, struct gdb_client *c, size_t at, const char *what)
{
	char *is = strdup(client_ask(c, "g"));

	if (strcmp(is, h->moment[at].registers)) {
		struct outcome o;

		fprintf(stderr, "%s from moment %zu of %zu (RIP %s): at moment %zu, not at moment %zu (RIP %s):\n%s\n%s\n", what, h->now, h->count,
			h->moment[h->now].rip, look_up(h, is), at, h->moment[at].rip, is, h->moment[at].registers);
		o = kill_debugged(h->debugged);
		ck_abort_msg("%s: elsewhere; the program said: %s", what, o.err.data);
	}
	free(is);
	h->now = at;
}

static void expect_end(struct history *h, struct gdb_client *c, const char *answer, const char *what)
{
	ck_assert_msg(is_end(answer), "%s from moment %zu: %s", what, h->now, answer);
	expect_at(h, c, h->last, what);
}

static void expect_begin(struct history *h, struct gdb_client *c, const char *answer, const char *what)
{
	ck_assert_msg(is_begin(answer), "%s from moment %zu: %s", what, h->now, answer);
	expect_at(h, c, 0, what);
}

static void step(struct history *h, struct gdb_client *c)
{
	const char *answer = client_ask(c, "s");

	if (h->now + 1 == h->count)
		expect_end(h, c, answer, "a step");
	else
		expect_at(h, c, h->now + 1, "a step");
}

static void step_back(struct history *h, struct gdb_client *c)
{
	const char *answer = client_ask(c, "bs");

	if (h->now)
		expect_at(h, c, h->now - 1, "a step back");
	else
		expect_begin(h, c, answer, "a step back");
}

/* gdb's packets have numbers with the first byte first, and addresses as people write them. */
static void address_of(char address[17], const char *rip)
{
	for (int i = 0; i < 8; i++)
		memcpy(address + 2 * i, rip + 2 * (7 - i), 2);
	address[16] = '\0';
}

static size_t next_at(const struct history *h, const char *rip)
{
	size_t i = h->now + 1;

	while (i < h->count && strcmp(h->moment[i].rip, rip))
		i++;
	return i;
}

static size_t last_at(const struct history *h, const char *rip)
{
	size_t i = h->now;

	while (i && strcmp(h->moment[i - 1].rip, rip))
		i--;
	return i; /* and one more */
}

/*
 * To the one point there is, "KIND,ADDRESS,SIZE" as of Z packets: at moment `to`, none = h->count; or back to the moment before `to`, none = 0.
 * Nowhere if nothing is mapped at the point now.
 */
static void run_to(struct history *h, struct gdb_client *c, const char *point, bool back, size_t to)
{
	char insert[50], out[50], what[60];
	const char *answer;

	snprintf(insert, sizeof(insert), "Z%s", point);
	snprintf(out, sizeof(out), "z%s", point);
	snprintf(what, sizeof(what), "%s, %s,", insert, back ? "back" : "on");
	if (strcmp(client_ask(c, insert), "OK"))
		return;
	answer = client_ask(c, back ? "bc" : "c");
	if (back && !to)
		expect_begin(h, c, answer, what);
	else if (!back && to == h->count)
		expect_end(h, c, answer, what);
	else
		expect_at(h, c, back ? to - 1 : to, what);
	expect_answer(c, out, "OK");
}

/* To a breakpoint somewhere, of either kind. */
static void run_to_break(struct history *h, struct gdb_client *c, struct random *r)
{
	const char *rip = h->moment[random_below(r, h->count)].rip;
	bool hardware = random_below(r, 4) == 0, back = random_below(r, 2);
	size_t to = back ? last_at(h, rip) : next_at(h, rip);
	char at[17], point[40];

	address_of(at, rip);
	snprintf(point, sizeof(point), "%d,%s,1", hardware, at);
	run_to(h, c, point, back, to);
}

static bool changed(const struct history *h, size_t at)
{
	return strcmp(h->moment[at].watched, h->moment[at - 1].watched);
}

static bool is_unmapped(const struct history *h, size_t at)
{
	return at < h->count && (!at || *h->moment[at].watched == 'E' || *h->moment[at - 1].watched == 'E');
}

/* Behind the instruction that writes; and going back, in front of it. */
static void run_to_write(struct history *h, struct gdb_client *c, struct random *r)
{
	bool back = random_below(r, 2);
	size_t to = back ? h->now : h->now + 1;
	char point[40];

	while (back ? to && !changed(h, to) : to < h->count && !changed(h, to))
		to += back ? -1 : 1;
	if (is_unmapped(h, to))
		return; /* what is written there before the guest can see it is nothing to this list */
	snprintf(point, sizeof(point), "2,%s,8", h->watched);
	run_to(h, c, point, back, to);
}

static void wander(struct history *h, struct gdb_client *c, struct random *r)
{
	switch (random_below(r, h->watched ? 6 : 4)) {
	case 0: step(h, c); break;
	case 1: step_back(h, c); break;
	case 2:
	case 3: run_to_break(h, c, r); break;
	default: run_to_write(h, c, r); break;
	}
}

static void test_against_history(const char *words, const char *input, const char *watched, unsigned int times)
{
	struct random r = random_start("travel");
	struct debugged d = debug_recorded(words, input);
	struct history h = take_history(&d, watched);

	for (unsigned int i = 0; i < times; i++)
		wander(&h, &d.gdb, &r);
	while (h.now > (h.count > 50 ? h.count - 50 : 0) && h.now)
		step_back(&h, &d.gdb);
	free_history(&h);
	end_debugged(&d);
}

START_TEST(test_hello)
{
	test_against_history("@hello -- 7", "", NULL, effort(150, 60));
}
END_TEST

START_TEST(test_input)
{
	test_against_history("@echo", "a\n", NULL, effort(60, 20));
}
END_TEST

/* Threads that are preempted where they compute: asynchronous points are walked to, again and again. */
START_TEST(test_bank)
{
	test_against_history("@bank -- 3", "", VAULT, effort(60, 15));
}
END_TEST

/* All stops at one instruction, on and then back: the same ones, but for those behind where the end can be looked at. */
static void there_and_back(struct debugged *d, const char *rip, bool hardware)
{
	struct history on = {.debugged = d}, back = {.debugged = d};
	char at[17], point[40];

	address_of(at, rip);
	snprintf(point, sizeof(point), "Z%d,%s,1", hardware, at);
	if (strcmp(client_ask(&d->gdb, point), "OK"))
		return; /* its page is not there yet */
	while (!is_end(client_ask(&d->gdb, "c")))
		add(&on, &d->gdb);
	while (!is_begin(client_ask(&d->gdb, "bc")))
		add(&back, &d->gdb);
	printf("travel: %s: %zu stops, %zu back\n", at, on.count, back.count);
	ck_assert(back.count <= on.count);
	for (size_t i = 0; i < back.count; i++)
		ck_assert_str_eq(back.moment[i].registers, on.moment[back.count - 1 - i].registers);
	point[0] = 'z';
	expect_answer(&d->gdb, point, "OK");
	free_history(&on);
	free_history(&back);
}

START_TEST(test_there_and_back)
{
	struct random r = random_start("there and back");
	struct debugged d = debug_recorded("@bank -- 3", "");

	for (unsigned int i = 0; i < effort(8, 2); i++) {
		char rip[17] = "";

		for (uint64_t steps = random_below(&r, 2000); steps--;)
			client_ask(&d.gdb, "s");
		memcpy(rip, client_ask(&d.gdb, "g") + DEBUGGED_RIP, 16);
		while (!is_begin(client_ask(&d.gdb, "bc")))
			;
		there_and_back(&d, rip, random_below(&r, 4) == 0);
	}
	end_debugged(&d);
}
END_TEST

/* Whoever leaves leaves a guest that runs to its end, wherever it stood. */
START_TEST(test_detach)
{
	struct random r = random_start("detach");
	struct debugged d = debug_recorded("@hello -- 7", "");
	struct outcome o;

	for (uint64_t i = random_below(&r, 400); i--;)
		ck_assert(!is_end(client_ask(&d.gdb, "s")));
	client_ask(&d.gdb, "bs");
	expect_answer(&d.gdb, "D", "OK");
	client_close(&d.gdb);
	o = child_end(&d.child);
	ck_assert_msg(o.status == 7 && !strcmp(o.out.data, "hello, world: 7\n"), "status %d, '%s'", o.status, o.out.data);
	outcome_free(&o);
	leave_snapshot_place(&d.place);
}
END_TEST

/* A guest that runs now: memory and registers are there to be changed, and the guest goes by them. */
START_TEST(test_running)
{
	struct debugged d = debug("run --gdb unix:%s/gdb @hello -- 7");
	char at[17], ask[80], *registers = strdup(client_ask(&d.gdb, "g"));
	struct outcome o;

	address_of(at, registers + DEBUGGED_RIP);
	snprintf(ask, sizeof(ask), "Z0,%s,1", at);
	expect_answer(&d.gdb, ask, "OK");
	ck_assert_str_ne(client_ask(&d.gdb, "s"), "");
	ck_assert_str_ne(client_ask(&d.gdb, "g"), registers);
	snprintf(ask, sizeof(ask), "P10=%.16s", registers + DEBUGGED_RIP);
	expect_answer(&d.gdb, ask, "OK"); /* once more from the start */
	expect_answer(&d.gdb, "P0=6300000000000000", "OK");
	ck_assert_msg(!strncmp(client_ask(&d.gdb, "g"), "6300000000000000", 16), "RAX is %.16s", d.gdb.data);
	ck_assert_msg(*client_ask(&d.gdb, "bs") != 'T', "it goes back: %s", d.gdb.data);
	expect_answer(&d.gdb, "D", "OK");
	client_close(&d.gdb);
	o = child_end(&d.child);
	ck_assert_msg(o.status == 7 && !strcmp(o.out.data, "hello, world: 7\n"), "status %d, '%s'", o.status, o.out.data);
	outcome_free(&o);
	leave_snapshot_place(&d.place);
	free(registers);
}
END_TEST

static void assert_refused(const char *line, const char *part)
{
	struct outcome o = spawn_line(line, "");

	assert_complaint(&o, 125, part, NULL, line);
	outcome_free(&o);
}

START_TEST(test_refusals)
{
	assert_refused("run --gdb 0 --mmu ept @hello", "the debugger works in shadow mode");
	assert_refused("run --gdb 0 --count 2 @hello", "not with several guests");
	assert_refused("run --gdb 0 --record /tmp/never @hello", "not while it is recorded");
	assert_refused("run --gdb nowhere @hello", "nowhere");
}
END_TEST

int main(void)
{
	TCase *tcases[] = {tcase_create("hello"), tcase_create("input"), tcase_create("bank"), tcase_create("sessions")};

	for (size_t i = 0; i < 4; i++)
		tcase_set_timeout(tcases[i], is_long() ? 1700 : 600);
	tcase_add_test(tcases[3], test_there_and_back);
	tcase_add_test(tcases[3], test_detach);
	tcase_add_test(tcases[3], test_running);
	tcase_add_test(tcases[3], test_refusals);
	tcase_add_test(tcases[0], test_hello);
	tcase_add_test(tcases[1], test_input);
	if (is_long() || !in_lab()) /* the list alone takes a minute there */
		tcase_add_test(tcases[2], test_bank);
	return run_cases("travel", tcases, 4);
}
