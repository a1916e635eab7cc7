/*
 * From start to end as users see it: many guests at once, ends from outside, terminals, slow readers, large inputs.
 * `vm-lifecycle long` does with 100 KB of input what otherwise is done with 6.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define MS 1000000ull
#define PIPE_MIN 4096

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
	struct outcome o = spawn_line("run --count 4 --timeout 2 @shell", NULL);
	const char *first = strstr(o.out.data, "0: Penumbra guest shell"), *prompts = strstr(o.out.data, ": > ");

	ck_assert_int_eq(o.status, 126);
	ck_assert_msg(first && prompts, "said '%s'", o.out.data);
	assert_numbered(prompts - 1, 4, ": > ");
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
	struct outcome o = spawn_line("run --count 5 --timeout 0.3 --console none @compute -- 1000000000", NULL);
	struct child c;

	ck_assert_int_eq(o.status, 126);
	ck_assert_msg(count_complaints(o.err.data, "timed out") == 5, "'%s'", o.err.data);
	outcome_free(&o);
	c = child_start(&(struct spawn){.line = "run --count 5 @clock -- 1000000000"});
	child_linger(&c, 300);
	kill(c.pid, SIGINT);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 130);
	ck_assert_msg(count_complaints(o.err.data, "stopped") == 5, "'%s'", o.err.data);
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
		check_signal(endless[i], SIGINT, 200, 1);
		check_signal(endless[i], SIGTERM, 200, 1);
		check_signal(endless[i], SIGINT, 200, 2);
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

/* A pipe as small as can be, so that it is soon full. */
static struct child start_with_small_pipe(const struct spawn *s)
{
	struct child c = child_start(s);

	fcntl(c.out, F_SETPIPE_SZ, PIPE_MIN);
	return c;
}

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

		await_full(&c);
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

/* What hostile console-flood prints: the same line of 64 bytes, cut at the end. */
static void assert_flood(const struct bytes *out, size_t size)
{
	static const char line[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";

	ck_assert_uint_eq(out->size, size);
	for (size_t i = 0; i < size; i++)
		ck_assert_msg(out->data[i] == line[i % 64], "byte %zu is %d", i, out->data[i]);
}

START_TEST(test_flood)
{
	struct outcome o = spawn_line("run @hostile -- console-flood 100001", NULL);

	ck_assert_msg(o.status == 0, "status %d, complained '%s'", o.status, o.err.data);
	assert_flood(&o.out, 100001);
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
	assert_flood(&o.out, 20000);
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
	assert_flood(&o.out, 20000);
	outcome_free(&o);
}
END_TEST

START_TEST(test_stop_and_continue)
{
	struct child c = child_start(&(struct spawn){.line = "run @clock -- 60"});
	struct outcome o;
	int status;

	for (int i = 0; i < 3; i++) {
		child_linger(&c, 100);
		kill(c.pid, SIGSTOP);
		ck_assert_int_eq(waitpid(c.pid, &status, WUNTRACED), c.pid);
		ck_assert_msg(WIFSTOPPED(status), "status %x", (unsigned int)status);
		usleep(200000);
		kill(c.pid, SIGCONT);
	}
	o = child_end(&c);
	assert_outcome(&o, 0, "clock: 60 ticks at 100 Hz, 3 spinning threads all got on\n", "stopped and continued");
	outcome_free(&o);
}
END_TEST

static bool is_raw(int terminal)
{
	struct termios t;

	ck_assert_int_eq(tcgetattr(terminal, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO));
}

static void await_raw(struct child *c)
{
	while (!is_raw(c->in)) {
		ck_assert_msg(c->out >= 0, "ended without taking the terminal");
		child_linger(c, 10);
	}
}

/* What every new terminal is set to. */
static void get_default(struct termios *settings)
{
	int master, slave;

	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	ck_assert_int_eq(tcgetattr(slave, settings), 0);
	ck_assert_msg(settings->c_lflag & ICANON, "a new terminal is not raw");
	close(slave);
	close(master);
}

/* One more slave is held open here, so that the settings can be seen when the child is gone. */
static struct child start_on_terminal(const char *line, struct termios *before, int *slave)
{
	struct child c = child_start(&(struct spawn){.line = line, .in = SPAWN_TTY});

	*slave = open(ptsname(c.in), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(*slave, 0);
	get_default(before);
	return c;
}

/* Waits without reading to an end that our own slave withholds. */
static struct outcome terminal_end(struct child *c, int slave, const struct termios *before)
{
	struct termios after;

	while (!child_has_ended(c))
		child_linger(c, 10);
	child_linger(c, 20);
	ck_assert_int_eq(tcgetattr(slave, &after), 0);
	ck_assert_msg(after.c_lflag == before->c_lflag && after.c_iflag == before->c_iflag &&
		      after.c_oflag == before->c_oflag && !memcmp(after.c_cc, before->c_cc, sizeof(after.c_cc)),
		      "the terminal is not as it was: lflag %x, not %x", after.c_lflag, before->c_lflag);
	close(slave);
	return child_end(c);
}

START_TEST(test_terminal)
{
	struct termios before;
	int slave;
	struct child c = start_on_terminal("run @echo", &before, &slave);
	struct outcome o;

	await_raw(&c);
	child_send(&c, "typed\n", 6);
	child_expect(&c, "typed\r\n");
	child_send(&c, "exit 8\n", 7);
	o = terminal_end(&c, slave, &before);
	/* Once, by the guest: the terminal itself does not echo. */
	assert_outcome(&o, 8, "typed\r\n", "on a terminal");
	outcome_free(&o);
}
END_TEST

/* Ctrl-C, and a signal from elsewhere, twice as well. */
START_TEST(test_terminal_interrupted)
{
	for (int i = 0; i < 4; i++) {
		struct termios before;
		int slave;
		struct child c = start_on_terminal(endless[i], &before, &slave);
		struct outcome o;

		await_raw(&c);
		if (i % 2)
			kill(c.pid, SIGTERM);
		else
			child_send(&c, "\x03", 1);
		if (i == 3)
			kill(c.pid, SIGTERM);
		o = terminal_end(&c, slave, &before);
		ck_assert_msg(o.status == 130, "%s: status %d, complained '%s'", endless[i], o.status, o.err.data);
		outcome_free(&o);
	}
}
END_TEST

/* A terminal is left alone where the guest does not get its input. */
START_TEST(test_terminal_unused)
{
	struct termios before;
	int slave;
	struct child c = start_on_terminal("run --console none --timeout 0.3 @clock -- 1000000", &before, &slave);
	struct outcome o;

	while (!child_has_ended(&c)) {
		ck_assert(!is_raw(slave));
		child_linger(&c, 10);
	}
	o = terminal_end(&c, slave, &before);
	ck_assert_int_eq(o.status, 126);
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

static size_t paste_size(void)
{
	return getenv("PENUMBRA_LONG") ? 100000 : 6000;
}

START_TEST(test_paste)
{
	struct random r = random_start("lifecycle");
	char *text = make_lines(&r, paste_size());
	struct child c = child_start(&(struct spawn){.line = "run @echo", .limit_s = 1000});
	struct outcome o;

	fcntl(c.in, F_SETPIPE_SZ, PIPE_MIN);
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

int main(int argc, char **argv)
{
	const TTest *const all[] = {
		test_many, test_many_unfinished_lines, test_many_ended, test_timeout, test_timeout_not_reached, test_signals, test_signal_early,
		test_end_blocked_output, test_timeout_blocked_output, test_flood, test_slow_reader,
		test_slow_reader_non_blocking, test_stop_and_continue, test_terminal, test_terminal_interrupted,
		test_terminal_unused, test_paste, test_input_file, test_input_null,
	};
	const TTest *const longer[] = {test_paste};

	if (argc > 1 && !strcmp(argv[1], "long")) {
		setenv("PENUMBRA_LONG", "1", 1);
		return RUN_TESTS("lifecycle-long", longer);
	}
	return RUN_TESTS("lifecycle", all);
}
