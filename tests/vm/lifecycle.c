/*
 * From start to end as users see it: many guests at once, ends from outside, slow readers, large inputs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/asleep.h"
#include "tests/vm/effort.h"
#include "tests/vm/flood.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define MS 1000000ull

/* Guests that never end by themselves, each hanging in another place. */
static const char *const endless[] = {
	"run @compute -- 1000000000",   /* ring 3 */
	"run @hostile -- endless-cli",  /* ring 0, interrupts off */
	"run @clock -- 1000000000",	/* timer interrupts */
	"run @echo",			/* halted, waiting for input */
};

#define ENDLESS (sizeof(endless) / sizeof(*endless))

/* Every line of `text` is "NUMBER: REST", each number below `count` there once, and nothing else. */
static void assert_numbered(const char *text, unsigned int count, const char *rest)
{
	bool *seen = calloc(count, sizeof(*seen));
	unsigned int lines = 0;

	for (const char *line = text; *line; lines++) {
		const char *end = strchr(line, '\n');
		char *after;
		unsigned long n = strtoul(line, &after, 10);

		ck_assert_msg(end && after > line && n < count, "bad line at '%.100s'", line);
		ck_assert_msg(!seen[n], "%lu came twice", n);
		seen[n] = true;
		ck_assert_msg(strlen(rest) == (size_t)(end - after) && !strncmp(after, rest, strlen(rest)),
			      "line '%.*s'", (int)(end - line), line);
		line = end + 1;
	}
	ck_assert_uint_eq(lines, count);
	free(seen);
}

START_TEST(test_many)
{
	struct outcome o = spawn_line("run --count 100 --mem 4M @hello", NULL);

	ck_assert_msg(o.status == 0 && o.err.size == 0, "status %d, complained '%.1000s'", o.status, o.err.data);
	assert_numbered(o.out.data, 100, ": hello, world");
	outcome_free(&o);
	o = spawn_line("run --count 3 @hello -- 7", NULL);
	ck_assert_int_eq(o.status, 7);
	assert_numbered(o.out.data, 3, ": hello, world: 7");
	outcome_free(&o);
}
END_TEST

/* Prompts that nobody answers: lines that are never finished do not mix, and end with the guest. */
START_TEST(test_many_unfinished_lines)
{
	struct child c = child_start(&(struct spawn){.line = "run --count 4 @echo -- your-turn>"});
	struct outcome o;

	await_signal_ready(&c, SIGINT);
	await_asleep(&c);
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	assert_numbered(o.out.data, 4, ": your-turn>");
	outcome_free(&o);
}
END_TEST

/* How many lines of `text` say `part`; -1 if one does not, or is not of our form. */
static int count_complaints(const char *text, const char *part)
{
	int lines = 0;

	for (const char *line = text; *line; lines++) {
		const char *end = strchr(line, '\n'), *at = strstr(line, part);

		if (!end || !at || at > end || strncmp(line, "penumbra: ", 10) != 0)
			return -1;
		line = end + 1;
	}
	return lines;
}

/* Several guests that are killed or stopped: one line each, one status. */
START_TEST(test_many_ended)
{
	struct outcome o = spawn_line("run --count 5 --timeout 3 --console none @compute -- 1000000000", NULL);
	struct child c;

	ck_assert_int_eq(o.status, 126);
	ck_assert_msg(count_complaints(o.err.data, "timed out") == 5, "'%s'", o.err.data);
	outcome_free(&o);
	c = child_start(&(struct spawn){.line = "run --count 5 @shell"});
	for (int i = 0; i < 5; i++)
		child_expect(&c, ": Penumbra guest shell");
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	ck_assert_msg(count_complaints(o.err.data, "stopped") == 5, "'%s'", o.err.data);
	outcome_free(&o);
}
END_TEST

/* Starting thousands takes long, the more so as those that are there already want the processors, too. */
START_TEST(test_ended_while_starting)
{
	static const char many[] = "run --count 4096 --console none @compute -- 1000000000";
	char line[200];
	struct outcome o;
	struct child c;

	snprintf(line, sizeof(line), "run --timeout 0.3 %s", many + strlen("run "));
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 126);
	ck_assert_ptr_nonnull(strstr(o.err.data, " of 4096 guests had been started\n"));
	ck_assert_ptr_nonnull(strstr(o.err.data, "#0: timed out"));
	outcome_free(&o);
	c = child_start(&(struct spawn){.line = many});
	await_signal_ready(&c, SIGINT);
	child_linger(&c, 300);
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	ck_assert_ptr_nonnull(strstr(o.err.data, " of 4096 guests had been started\n"));
	outcome_free(&o);
}
END_TEST

START_TEST(test_timeout)
{
	for (size_t i = 0; i < ENDLESS; i++) {
		char line[200];
		uint64_t start = monotonic_ns();
		struct outcome o;
		struct child c;

		snprintf(line, sizeof(line), "run --timeout 0.4%s", endless[i] + strlen("run"));
		c = child_start(&(struct spawn){.line = line});
		/* The input stays open: its end would be an end for echo. */
		while (c.out >= 0)
			child_linger(&c, 100);
		o = child_end(&c);
		assert_complaint(&o, 126, "timed out", NULL, line);
		ck_assert_uint_ge(monotonic_ns() - start, 400 * MS);
		outcome_free(&o);
	}
}
END_TEST

static void block_signals(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

/* What the program's parent had blocked is none of its business: timers and kicks work. */
START_TEST(test_signals_blocked_before)
{
	struct outcome o = spawn(&(struct spawn){.line = "run @clock -- 5", .prepare = block_signals}, "", 0);

	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run --timeout 0.4 @compute -- 1000000000", .prepare = block_signals}, "", 0);
	assert_complaint(&o, 126, "timed out", NULL, "all signals were blocked");
	outcome_free(&o);
}
END_TEST

START_TEST(test_timeout_not_reached)
{
	struct outcome o = spawn_line("run --timeout 100 @hello -- 4", NULL);

	assert_outcome(&o, 4, "hello, world: 4\n", "a timeout that is not reached");
	outcome_free(&o);
}
END_TEST

static void check_signal(const char *line, int signal, unsigned int after_ms, unsigned int times)
{
	struct child c = child_start(&(struct spawn){.line = line});
	struct outcome o;

	await_signal_ready(&c, signal);
	child_linger(&c, after_ms);
	for (unsigned int i = 0; i < times; i++)
		kill(c.pid, signal);
	while (c.out >= 0 || c.err >= 0)
		child_linger(&c, 100);
	o = child_end(&c);
	/* Asked twice before it has answered once, it leaves without a word. */
	if (times == 1 || o.err.size)
		assert_complaint(&o, 130, "stopped", "user", line);
	ck_assert_int_eq(o.status, 130);
	outcome_free(&o);
}

START_TEST(test_signals)
{
	for (size_t i = 0; i < ENDLESS; i++) {
		check_signal(endless[i], SIGINT, 100, 1);
		check_signal(endless[i], SIGTERM, 100, 1);
		check_signal(endless[i], SIGINT, 100, 2);
	}
}
END_TEST

/* At any moment of the start: the program ends by the signal or in its own way, never hangs. */
START_TEST(test_signal_early)
{
	struct random r = random_start("lifecycle");

	for (int i = 0; i < 30; i++) {
		struct child c = child_start(&(struct spawn){.line = "run @echo"});
		struct outcome o;

		usleep((useconds_t)random_below(&r, 20000));
		kill(c.pid, SIGTERM);
		while (c.out >= 0 || c.err >= 0)
			child_linger(&c, 100);
		o = child_end(&c);
		ck_assert_msg(o.status == 130 || o.status == SPAWN_SIGNAL + SIGTERM, "status %d", o.status);
		outcome_free(&o);
	}
}
END_TEST

static const char *const floods[] = {"run @hostile -- console-flood 100000000",
				     "run --count 3 @hostile -- console-flood 100000000"};

static struct child start_with_small_pipe(const struct spawn *s)
{
	struct child c = child_start(s);

	flood_small_pipe(&c);
	return c;
}

/* Without reading. */
static void await_end(const struct child *c)
{
	while (!child_has_ended(c)) {
		ck_assert_msg(monotonic_ns() < c->deadline_ns, "output blocked: did not end");
		usleep(2000);
	}
}

/* Somebody stopped reading the output and will not go on: the guest waits, and can still be ended. */
START_TEST(test_end_blocked_output)
{
	for (int i = 0; i < 12; i++) {
		int signal = i % 2 ? SIGINT : SIGTERM;
		struct child c = start_with_small_pipe(&(struct spawn){.line = floods[i % 2]});
		struct outcome o;

		flood_await_full(&c);
		kill(c.pid, signal);
		await_end(&c);
		o = child_end(&c);
		ck_assert_int_eq(o.status, 130);
		outcome_free(&o);
	}
}
END_TEST

START_TEST(test_timeout_blocked_output)
{
	struct child c = start_with_small_pipe(&(struct spawn){.line = "run --timeout 0.5 @hostile -- console-flood 100000000"});
	struct outcome o;

	await_end(&c);
	o = child_end(&c);
	assert_complaint(&o, 126, "timed out", NULL, "output blocked");
	outcome_free(&o);
}
END_TEST

START_TEST(test_flood)
{
	unsigned int size = effort(100001, 20001);
	struct outcome o;
	char line[80];

	snprintf(line, sizeof(line), "run @hostile -- console-flood %u", size);
	o = spawn_line(line, NULL);
	ck_assert_msg(o.status == 0, "status %d, complained '%s'", o.status, o.err.data);
	flood_assert(&o.out, size);
	outcome_free(&o);
}
END_TEST

/* A reader that sleeps on a full pipe, again and again: the guest waits for it, nothing is lost. */
START_TEST(test_slow_reader)
{
	struct child c = start_with_small_pipe(&(struct spawn){.line = "run @hostile -- console-flood 20000"});
	struct outcome o;

	for (int i = 0; i < 8; i++) {
		usleep(60000);
		child_linger(&c, 1);
	}
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, complained '%s'", o.status, o.err.data);
	flood_assert(&o.out, 20000);
	outcome_free(&o);
}
END_TEST

/* A descriptor that others have made non-blocking, as terminals' often are. */
static void non_blocking(void *arg)
{
	fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
}

START_TEST(test_slow_reader_non_blocking)
{
	struct spawn s = {.line = "run @hostile -- console-flood 20000", .prepare = non_blocking};
	struct child c = start_with_small_pipe(&s);
	struct outcome o;

	usleep(300000);
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, complained '%s'", o.status, o.err.data);
	flood_assert(&o.out, 20000);
	outcome_free(&o);
}
END_TEST

/* False: it has ended instead. */
static bool await_stop(const struct child *c)
{
	siginfo_t info = {0};

	/* The end stays as it is for child_end(). */
	ck_assert_int_eq(waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	return info.si_code == CLD_STOPPED;
}

START_TEST(test_stop_and_continue)
{
	struct child c = child_start(&(struct spawn){.line = "run @clock -- 80"});
	int stops = 0;
	struct outcome o;

	/* On a loaded host the guest may be done before the third time. */
	while (stops < 3) {
		child_linger(&c, 100);
		kill(c.pid, SIGSTOP);
		if (!await_stop(&c))
			break;
		stops++;
		usleep(200000);
		kill(c.pid, SIGCONT);
	}
	ck_assert_int_gt(stops, 0);
	o = child_end(&c);
	assert_outcome(&o, 0, "clock: 80 ticks at 100 Hz, 3 spinning threads all got on\n", "stopped and continued");
	outcome_free(&o);
}
END_TEST

/* A stop ends calls into the kernel: making a VM is one of them. */
START_TEST(test_stops_while_starting)
{
	struct child c = child_start(&(struct spawn){.line = "run --count 100 @hello"});
	struct outcome o;

	for (int stops = 0; stops < 2000 && !child_has_ended(&c); stops++) {
		kill(c.pid, SIGSTOP);
		kill(c.pid, SIGCONT);
		usleep(100);
	}
	o = child_end(&c);
	ck_assert_int_eq(o.status, 0);
	ck_assert_str_eq(o.err.data, "");
	assert_numbered(o.out.data, 100, ": hello, world");
	outcome_free(&o);
}
END_TEST

static char *make_lines(struct random *r, size_t size)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char *text = malloc(size + 1);

	ck_assert_ptr_nonnull(text);
	for (size_t i = 0, column = 0; i < size; i++) {
		bool newline = i == size - 1 || column == 250 || random_below(r, 60) == 0;

		text[i] = newline ? '\n' : letters[random_below(r, sizeof(letters) - 1)];
		column = newline ? 0 : column + 1;
	}
	text[size] = '\0';
	/* "exit N" would be obeyed. */
	for (char *at = text; (at = strstr(at, "exit ")); at++)
		*at = 'X';
	return text;
}

START_TEST(test_paste)
{
	struct random r = random_start("lifecycle");
	char *text = make_lines(&r, effort(6000, 3000));
	struct child c = child_start(&(struct spawn){.line = "run @echo", .limit_s = 1000});
	struct outcome o;

	fcntl(c.in, F_SETPIPE_SZ, 4096);
	child_send(&c, text, strlen(text));
	o = child_end(&c);
	assert_outcome(&o, 0, text, "a large paste");
	outcome_free(&o);
	free(text);
}
END_TEST

START_TEST(test_input_file)
{
	char path[] = "/tmp/penumbra-vm.XXXXXX", *text;
	struct random r = random_start("lifecycle");
	int fd = mkstemp(path);
	struct outcome o;

	ck_assert_int_ge(fd, 0);
	text = make_lines(&r, 1000);
	ck_assert_int_eq(write(fd, text, 1000), 1000);
	close(fd);
	o = spawn(&(struct spawn){.line = "run @echo", .stdin_path = path}, NULL, 0);
	unlink(path);
	assert_outcome(&o, 0, text, "a file as input");
	outcome_free(&o);
	free(text);
}
END_TEST

/* /dev/null is nobody at the keyboard, not an end: the guest waits. */
START_TEST(test_input_null)
{
	struct outcome o = spawn(&(struct spawn){.line = "run --timeout 0.5 @echo", .in = SPAWN_NULL}, NULL, 0);

	assert_complaint(&o, 126, "timed out", NULL, "no input");
	outcome_free(&o);
	o = spawn(&(struct spawn){.line = "run @hello", .in = SPAWN_NULL}, NULL, 0);
	assert_outcome(&o, 0, "hello, world\n", "no input");
	outcome_free(&o);
}
END_TEST

int main(void)
{
	const TTest *const all[] = {
		test_many, test_many_unfinished_lines, test_many_ended, test_ended_while_starting, test_timeout, test_signals_blocked_before,
		test_timeout_not_reached, test_signals,
		test_signal_early, test_end_blocked_output, test_timeout_blocked_output, test_flood, test_slow_reader,
		test_slow_reader_non_blocking, test_stop_and_continue, test_stops_while_starting, test_paste, test_input_file, test_input_null,
	};

	return RUN_TESTS("lifecycle", all);
}
