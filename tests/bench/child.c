#include "tests/bench/child.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

uint64_t child_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void file_actions(posix_spawn_file_actions_t *actions, int output, bool quiet)
{
	posix_spawn_file_actions_init(actions);
	posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (quiet)
		posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
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
	struct child c;
	int ends[2], r;

	if (pipe2(ends, O_CLOEXEC))
		err(1, "pipe");
	file_actions(&actions, ends[1], o.quiet);
	c.output = ends[0];
	c.start_ns = child_now();
	r = posix_spawn(&c.pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, env);
	if (r)
		errx(1, "%s: %s", argv[0], strerror(r));
	close(ends[1]);
	posix_spawn_file_actions_destroy(&actions);
	if (o.setting) {
		free(env[0]);
		free(env);
	}
	return c;
}

uint64_t child_first_byte(const struct child *c)
{
	ssize_t n;
	char byte;

	do
		n = read(c->output, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		errx(1, "a guest printed nothing");
	return child_now();
}

static uint64_t reap(const struct child *c, int *status)
{
	char rest[4096];
	uint64_t now;
	pid_t pid;

	while (read(c->output, rest, sizeof(rest)) > 0)
		;
	do
		pid = waitpid(c->pid, status, 0);
	while (pid < 0 && errno == EINTR);
	now = child_now();
	close(c->output);
	return now;
}

uint64_t child_finish(const struct child *c)
{
	int status;
	uint64_t now = reap(c, &status);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "a program under measurement failed (wait status %#x)", (unsigned int)status);
	return now;
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
	uint64_t first = child_first_byte(&c), end = child_finish(&c);

	return (struct child_times){.first_byte_us = (double)(first - c.start_ns) / 1e3,
				    .exit_us = (double)(end - c.start_ns) / 1e3};
}
