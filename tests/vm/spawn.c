#include "tests/vm/spawn.h"

#include "tests/vm/modes.h"

#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS 32
#define CANNOT_START 254 /* exit status of a child that never became the program */

uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

char *build_path(const char *relative)
{
	const char *build = getenv("PENUMBRA_BUILD");
	char *path;

	ck_assert_msg(build && *build, "PENUMBRA_BUILD: not set; it names the build directory");
	ck_assert_int_ge(asprintf(&path, "%s/%s", build, relative), 0);
	return path;
}

/* "@NAME" and "--OPTION=@NAME"; no name begins with a digit. */
static char *expand(const char *word, size_t length)
{
	char *text = strndup(word, length), *at = *text == '@' ? text : strstr(text, "=@"), *image, *relative, *whole;

	if (!at)
		return text;
	at += *at == '=';
	if (!isalpha((unsigned char)at[1]))
		return text;
	ck_assert_int_ge(asprintf(&relative, "guest/%s", at + 1), 0);
	image = build_path(relative);
	ck_assert_int_ge(asprintf(&whole, "%.*s%s", (int)(at - text), text, image), 0);
	free(relative);
	free(image);
	free(text);
	return whole;
}

/* `run` without a mode gets that of the test. */
static char *mode_option(const char *line)
{
	char *option;

	if (strncmp(line, "run ", 4) || strstr(line, "--mmu") || !mmu_of_test())
		return NULL;
	ck_assert_int_ge(asprintf(&option, "--mmu=%s", mmu_of_test()), 0);
	return option;
}

int split_line(const char *line, char **argv, int most)
{
	char *mode = mode_option(line);
	int n = 0;

	argv[n++] = build_path("penumbra");
	for (;;) {
		size_t length = strcspn(line, " ");

		ck_assert_int_lt(n, most - 1);
		argv[n++] = expand(line, length);
		if (n == 2 && mode)
			argv[n++] = mode;
		if (!line[length])
			break;
		line += length + 1;
	}
	argv[n] = NULL;
	return n;
}

static void append(struct bytes *b, const void *data, size_t size)
{
	b->data = realloc(b->data, b->size + size + 1);
	ck_assert_ptr_nonnull(b->data);
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	b->data[b->size] = '\0';
}

/* The child's own ends of what it is given, and the test's. */
struct ends {
	int child[3];
	int test[3];
};

static void make_pipe(struct ends *e, int n)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	e->child[n] = fds[n ? 1 : 0];
	e->test[n] = fds[n ? 0 : 1];
}

static int open_for_child(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void make_tty(struct ends *e)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	int master, slave;

	ck_assert_int_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	e->child[0] = slave;
	e->child[1] = fcntl(slave, F_DUPFD_CLOEXEC, 0);
	e->test[0] = master;
	e->test[1] = fcntl(master, F_DUPFD_CLOEXEC, 0);
}

static struct ends make_ends(const struct spawn *s)
{
	struct ends e = {{-1, -1, -1}, {-1, -1, -1}};

	make_pipe(&e, 2);
	if (s->in == SPAWN_TTY) {
		make_tty(&e);
		return e;
	}
	if (s->stdin_path)
		e.child[0] = open_for_child(s->stdin_path, O_RDONLY);
	else if (s->in == SPAWN_NULL)
		e.child[0] = open_for_child("/dev/null", O_RDONLY);
	else if (s->in == SPAWN_PIPE)
		make_pipe(&e, 0);
	if (s->stdout_path) {
		e.child[1] = open_for_child(s->stdout_path, O_WRONLY);
	} else {
		make_pipe(&e, 1);
		if (s->stdout_broken) {
			close(e.test[1]);
			e.test[1] = -1;
		}
	}
	return e;
}

/* What the test's own surroundings may have set differently: a CI job runs with SIGINT ignored, for one. */
static void default_signals(void)
{
	sigset_t none;

	for (int n = 1; n < 32; n++)
		signal(n, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become(const struct spawn *s, const struct ends *e, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	default_signals();
	if (s->in == SPAWN_TTY) {
		setsid();
		ioctl(e->child[0], TIOCSCTTY, 0);
	} else {
		setpgid(0, 0);
	}
	for (int n = 0; n < 3; n++) {
		if (e->child[n] >= 0)
			dup2(e->child[n], n);
		else
			close(n);
	}
	if (s->prepare)
		s->prepare(s->arg);
	execv(argv[0], argv);
	_exit(CANNOT_START);
}

struct child child_start(const struct spawn *s)
{
	struct ends e = make_ends(s);
	unsigned int limit_s = s->limit_s ? s->limit_s : SPAWN_LIMIT_S;
	char *argv[MAX_WORDS + 1];
	sigset_t all, before;
	struct child c = {.in = e.test[0], .out = e.test[1], .err = e.test[2],
			  .deadline_ns = monotonic_ns() + limit_s * 1000000000ull};

	snprintf(c.line, sizeof(c.line), "%s", s->line);
	split_line(s->line, argv, MAX_WORDS);
	if (s->program) {
		free(argv[0]);
		argv[0] = strdup(s->program);
	}
	append(&c.said, NULL, 0);
	append(&c.complained, NULL, 0);
	/* Until it has become the program, a signal to the child would run a handler of Check's. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	c.pid = fork();
	ck_assert_int_ge(c.pid, 0);
	if (c.pid == 0)
		become(s, &e, argv);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (s->in != SPAWN_TTY)
		setpgid(c.pid, c.pid); /* whoever comes first: the test may signal the group at once */
	for (int n = 0; n < 3; n++) {
		if (e.child[n] >= 0)
			close(e.child[n]);
	}
	for (char **word = argv; *word; word++)
		free(*word);
	if (c.in >= 0)
		fcntl(c.in, F_SETFL, O_NONBLOCK);
	return c;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void give_up(struct child *c)
{
	struct rusage used = {0};

	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	wait4(c->pid, NULL, 0, &used);
	ck_abort_msg("'%s' did not end in time, after %ld s in user and %ld s in system mode; it said '%.2000s' and complained '%.2000s'",
		     c->line, (long)used.ru_utime.tv_sec, (long)used.ru_stime.tv_sec, c->said.data, c->complained.data);
}

static void read_end(int *fd, struct bytes *to)
{
	char buffer[65536];
	ssize_t n = read(*fd, buffer, sizeof(buffer));

	/* A terminal whose last user is gone says EIO. */
	if (n > 0)
		append(to, buffer, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close_end(fd);
}

static void write_pending(struct child *c)
{
	ssize_t n = write(c->in, c->pending.data + c->sent, c->pending.size - c->sent);

	if (n > 0)
		c->sent += (size_t)n;
	else if (n < 0 && errno != EINTR && errno != EAGAIN)
		c->sent = c->pending.size; /* nobody reads any more */
}

/* Moves what can be moved, for at most `ms`. */
static void pump(struct child *c, int ms)
{
	bool sending = c->in >= 0 && c->sent < c->pending.size;
	struct pollfd fds[] = {
		{.fd = sending ? c->in : -1, .events = POLLOUT},
		{.fd = c->out, .events = POLLIN},
		{.fd = c->err, .events = POLLIN},
	};

	if (monotonic_ns() > c->deadline_ns)
		give_up(c);
	if (poll(fds, 3, ms) > 0) {
		if (fds[0].revents)
			write_pending(c);
		if (fds[1].revents)
			read_end(&c->out, &c->said);
		if (fds[2].revents)
			read_end(&c->err, &c->complained);
	}
	if (c->close_when_sent && c->sent == c->pending.size)
		close_end(&c->in);
}

void child_send(struct child *c, const void *bytes, size_t size)
{
	append(&c->pending, bytes, size);
	pump(c, 0);
}

void child_close_input(struct child *c)
{
	c->close_when_sent = true;
	pump(c, 0);
}

void child_expect(struct child *c, const char *text)
{
	const char *at;

	while (!(at = strstr(c->said.data + c->expected, text))) {
		if (c->out < 0)
			ck_abort_msg("'%s' was never said, only '%.2000s'; complained '%.2000s'", text, c->said.data,
				     c->complained.data);
		pump(c, 100);
	}
	c->expected = (size_t)(at - c->said.data) + strlen(text);
}

void child_linger(struct child *c, unsigned int ms)
{
	uint64_t end = monotonic_ns() + ms * 1000000ull;

	for (uint64_t now = monotonic_ns(); now < end && (c->out >= 0 || c->err >= 0); now = monotonic_ns())
		pump(c, (int)((end - now) / 1000000) + 1);
}

bool child_has_ended(const struct child *c)
{
	siginfo_t info = {0};

	/* The child stays as it is for child_end(). */
	ck_assert_int_eq(waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	return info.si_pid != 0;
}

struct outcome child_end(struct child *c)
{
	struct outcome o = {0};
	struct rusage usage;
	int status;

	c->close_when_sent = true;
	while (c->out >= 0 || c->err >= 0)
		pump(c, 100);
	while (wait4(c->pid, &status, WNOHANG, &usage) == 0)
		pump(c, 1);
	close_end(&c->in);
	free(c->pending.data);
	o.status = WIFEXITED(status) ? WEXITSTATUS(status) : SPAWN_SIGNAL + WTERMSIG(status);
	ck_assert_msg(o.status != CANNOT_START, "the program did not start");
	o.out = c->said;
	o.err = c->complained;
	o.peak_kib = usage.ru_maxrss;
	return o;
}

struct outcome spawn(const struct spawn *s, const void *input, size_t size)
{
	struct child c = child_start(s);

	if (input)
		child_send(&c, input, size);
	return child_end(&c);
}

struct outcome spawn_line(const char *line, const char *input)
{
	return spawn(&(struct spawn){.line = line}, input, input ? strlen(input) : 0);
}

void outcome_free(struct outcome *o)
{
	free(o->out.data);
	free(o->err.data);
	*o = (struct outcome){0};
}

void assert_outcome(const struct outcome *o, int status, const char *out, const char *what)
{
	ck_assert_msg(o->status == status, "%s: status %d, not %d; said '%.2000s', complained '%.2000s'", what, o->status,
		      status, o->out.data, o->err.data);
	ck_assert_msg(strlen(out) == o->out.size && !memcmp(o->out.data, out, o->out.size),
		      "%s: said '%.4000s' instead of '%.4000s'", what, o->out.data, out);
}

static void assert_part(const struct outcome *o, const char *part, const char *what)
{
	ck_assert_msg(!part || strstr(o->err.data, part), "%s: '%s' is not in '%.2000s'", what, part, o->err.data);
}

void assert_complaint(const struct outcome *o, int status, const char *part, const char *other, const char *what)
{
	const char *text = o->err.data, *end = strchr(text, '\n');

	ck_assert_msg(o->status == status, "%s: status %d, not %d; complained '%.2000s'", what, o->status, status, text);
	ck_assert_msg(!strncmp(text, "penumbra: ", 10), "%s: not our form: '%.2000s'", what, text);
	ck_assert_msg(end && !end[1], "%s: not one line: '%.2000s'", what, text);
	assert_part(o, part, what);
	assert_part(o, other, what);
}

unsigned long child_shell_ms(struct child *c)
{
	size_t at;

	child_send(c, "time\n", 5);
	child_expect(c, "time\n");
	at = c->expected;
	child_expect(c, " ms\n");
	return strtoul(c->said.data + at, NULL, 10);
}

long child_resident_kib(const struct child *c)
{
	char path[60], line[200];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)c->pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (kib < 0 && fgets(line, sizeof(line), file))
		sscanf(line, "Rss: %ld kB", &kib);
	fclose(file);
	ck_assert_int_gt(kib, 0);
	return kib;
}
