#include "tests/bench/child.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void file_actions(posix_spawn_file_actions_t *actions, int input, int output, const struct child_options *o)
{
	posix_spawn_file_actions_init(actions);
	if (input >= 0)
		posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
	else
		posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (o->quiet)
		posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (o->log)
		posix_spawn_file_actions_addopen(actions, STDERR_FILENO, o->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
}

/* A pipe with the bytes in it. Returns its read end. */
static int make_input(struct child *c, const char *bytes)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) || write(ends[1], bytes, strlen(bytes)) != (ssize_t)strlen(bytes))
		err(1, "pipe");
	c->input = ends[1];
	return ends[0];
}

/* The environment with `setting` in front, where getenv() finds it first. Free with free(). */
static char **with_setting(const char *setting)
{
	size_t n = 0;
	char **env;

	while (environ[n])
		n++;
	env = bench_alloc(n + 2, sizeof(*env));
	env[0] = strdup(setting);
	memcpy(env + 1, environ, n * sizeof(*env));
	return env;
}

struct child child_start(const char *const argv[], const struct child_options *options)
{
	const struct child_options o = options ? *options : (struct child_options){.quiet = false};
	char **env = o.setting ? with_setting(o.setting) : environ;
	posix_spawn_file_actions_t actions;
	struct child c = {.input = -1};
	int ends[2], r, input = o.input ? make_input(&c, o.input) : -1;

	if (pipe2(ends, O_CLOEXEC))
		err(1, "pipe");
	file_actions(&actions, input, ends[1], &o);
	c.output = ends[0];
	c.start_ns = now_ns();
	r = posix_spawn(&c.pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, env);
	if (r)
		errx(1, "%s: %s", argv[0], strerror(r));
	close(ends[1]);
	if (input >= 0)
		close(input);
	posix_spawn_file_actions_destroy(&actions);
	if (o.setting) {
		free(env[0]);
		free(env);
	}
	return c;
}

static double since_start_us(const struct child *c)
{
	return (double)(now_ns() - c->start_ns) / 1e3;
}

double child_first_byte_us(const struct child *c)
{
	ssize_t n;
	char byte;

	do
		n = read(c->output, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		errx(1, "a guest printed nothing");
	return since_start_us(c);
}

void child_say(const struct child *c, const char *bytes)
{
	if (write(c->input, bytes, strlen(bytes)) != (ssize_t)strlen(bytes))
		err(1, "input of a program under measurement");
}

static double us(const struct timeval *t)
{
	return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

static struct child_times reap(const struct child *c, int *status)
{
	struct child_times times = {0};
	struct rusage used;
	char rest[4096];
	pid_t pid;

	while (read(c->output, rest, sizeof(rest)) > 0)
		;
	do
		pid = wait4(c->pid, status, 0, &used);
	while (pid < 0 && errno == EINTR);
	times.exit_us = since_start_us(c);
	times.cpu_us = us(&used.ru_utime) + us(&used.ru_stime);
	close(c->output);
	if (c->input >= 0)
		close(c->input);
	return times;
}

struct child_times child_finish(const struct child *c)
{
	int status;
	struct child_times times = reap(c, &status);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "a program under measurement failed (wait status %#x)",
		     (unsigned int)status);
	return times;
}

void child_stop(const struct child *c)
{
	int status;

	kill(c->pid, SIGTERM);
	reap(c, &status);
}

struct child_times child_time(const char *const argv[])
{
	struct child c = child_start(argv, NULL);
	double first = child_first_byte_us(&c);
	struct child_times times = child_finish(&c);

	times.first_byte_us = first;
	return times;
}
