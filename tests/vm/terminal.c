/*
 * The terminal from which a guest is run: it is changed while the guest has it, and is as it was before whenever somebody else
 * has it, be it after the end, however that came, or while a shell has the program in the background or stopped.
 */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

/* Guests that never end by themselves, each hanging in another place. */
static const char *const endless[] = {
	"run @compute -- 1000000000",   /* ring 3 */
	"run @hostile -- endless-cli",  /* ring 0, interrupts off */
	"run @clock -- 1000000000",	/* timer interrupts */
	"run @echo",			/* halted, waiting for input */
};

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
static struct child start_prepared(const char *line, void (*prepare)(void *arg), void *arg, struct termios *before,
				   int *slave)
{
	struct child c = child_start(&(struct spawn){.line = line, .in = SPAWN_TTY, .prepare = prepare, .arg = arg});

	*slave = open(ptsname(c.in), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(*slave, 0);
	get_default(before);
	return c;
}

static struct child start_on_terminal(const char *line, struct termios *before, int *slave)
{
	return start_prepared(line, NULL, NULL, before, slave);
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

static void no_core(void *arg)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
}

/* Ctrl-\ is for who wants out at once. The terminal's end is an end like others. */
START_TEST(test_quit_and_hangup)
{
	for (int i = 0; i < 2; i++) {
		struct termios before;
		int slave;
		struct child c = start_prepared("run @echo", no_core, NULL, &before, &slave);
		struct outcome o;

		await_raw(&c);
		if (i)
			kill(c.pid, SIGHUP);
		else
			child_send(&c, "\x1c", 1);
		o = terminal_end(&c, slave, &before);
		if (i)
			assert_complaint(&o, 130, "stopped", NULL, "SIGHUP");
		else
			ck_assert_int_eq(o.status, SPAWN_SIGNAL + SIGQUIT);
		outcome_free(&o);
	}
}
END_TEST

static void ignore_hangup(void *arg)
{
	signal(SIGHUP, SIG_IGN);
}

START_TEST(test_nohup)
{
	struct termios before;
	int slave;
	struct child c = start_prepared("run @echo", ignore_hangup, NULL, &before, &slave);
	struct outcome o;

	await_raw(&c);
	kill(c.pid, SIGHUP);
	child_linger(&c, 100);
	child_send(&c, "exit 8\n", 7);
	o = terminal_end(&c, slave, &before);
	assert_outcome(&o, 8, "", "SIGHUP under nohup");
	outcome_free(&o);
}
END_TEST

/*
 * The session's leader does what a shell does with its one job, the program, and ends with the job's status, or with one of
 * these. What it says the test waits for.
 */
#define JOB_STOPPED 98	  /* nobody asked for that */
#define JOB_LEFT_IT_RAW 97
#define JOB_MS 600

enum job { JOB_IN_BACKGROUND, JOB_SUSPENDED, JOB_STOPPED_BY_SHELL };

static void say(const char *text)
{
	(void)!write(STDOUT_FILENO, text, strlen(text));
}

static void end_with(int status)
{
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : JOB_STOPPED);
}

/* Long enough for the program to read what was typed, if it does. */
static void keep_in_background(pid_t job)
{
	int status;

	say("background\n");
	for (int i = 0; i < JOB_MS / 10; i++) {
		usleep(10000);
		if (waitpid(job, &status, WNOHANG | WUNTRACED) == job)
			_exit(JOB_STOPPED);
	}
}

/* As shells do: takes the terminal, sets it as it likes it, and gives it back. */
static void await_stopped(pid_t job, const struct termios *sane, enum job how)
{
	int status;

	if (how == JOB_STOPPED_BY_SHELL) {
		while (!is_raw(STDIN_FILENO))
			usleep(10000);
		kill(job, SIGSTOP);
	}
	if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status))
		end_with(status);
	if (how == JOB_SUSPENDED && is_raw(STDIN_FILENO))
		_exit(JOB_LEFT_IT_RAW);
	tcsetpgrp(STDIN_FILENO, getpgrp());
	tcsetattr(STDIN_FILENO, TCSADRAIN, sane);
	say("stopped\n");
}

static void be_shell(pid_t job, const struct termios *sane, enum job how)
{
	int status;

	setpgid(job, job);
	signal(SIGTTOU, SIG_IGN);
	if (how == JOB_IN_BACKGROUND) {
		keep_in_background(job);
	} else {
		tcsetpgrp(STDIN_FILENO, job);
		await_stopped(job, sane, how);
	}
	tcsetpgrp(STDIN_FILENO, job);
	if (how != JOB_IN_BACKGROUND)
		kill(-job, SIGCONT);
	waitpid(job, &status, WUNTRACED);
	end_with(status);
}

static void become_job(void *arg)
{
	struct termios sane;
	pid_t job;

	tcgetattr(STDIN_FILENO, &sane);
	job = fork();
	if (job)
		be_shell(job, &sane, *(const enum job *)arg);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
}

static void check_job(enum job how, const char *shell_says, const char *key)
{
	struct termios before;
	int slave;
	struct child c = start_prepared("run @echo", become_job, &how, &before, &slave);
	struct outcome o;

	if (how == JOB_SUSPENDED)
		await_raw(&c);
	child_send(&c, key, strlen(key));
	child_expect(&c, shell_says);
	await_raw(&c);
	child_send(&c, "typed\nexit 8\n", 13);
	child_expect(&c, "typed\r\n");
	o = terminal_end(&c, slave, &before);
	ck_assert_msg(o.status == 8, "job %d: status %d, said '%s', complained '%s'", how, o.status, o.out.data, o.err.data);
	ck_assert_uint_eq(o.err.size, 0);
	outcome_free(&o);
}

/* What is typed there is the shell's; once in the foreground the guest gets what comes. */
START_TEST(test_background)
{
	check_job(JOB_IN_BACKGROUND, "background\r\n", "for the shell\n");
}
END_TEST

START_TEST(test_suspended)
{
	check_job(JOB_SUSPENDED, "stopped\r\n", "\x1a");
	check_job(JOB_STOPPED_BY_SHELL, "stopped\r\n", "");
}
END_TEST

int main(void)
{
	const TTest *const all[] = {
		test_terminal, test_terminal_interrupted, test_terminal_unused, test_quit_and_hangup, test_nohup, test_background,
		test_suspended,
	};

	return RUN_TESTS("terminal", all);
}
