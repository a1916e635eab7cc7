#include "vmm/stats_watch.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/control_socket.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/stats_table.h"

#define NS_PER_MS 1000000ull
#define PIECE 65536u

/* What came of waiting. */
enum event {
	EVENT_DUE,    /* all is well */
	EVENT_INPUT,  /* the socket has something, or is at its end */
	EVENT_GONE,   /* the run is */
	EVENT_ASKED,  /* the user wants no more */
	EVENT_FAILED, /* logged */
};

struct watch {
	const char *path;
	int fd, signal_fd;
	char *text; /* what came of the answer */
	size_t used, room;
	json_t *before; /* the guests as they were shown last; NULL = they were not yet */
	bool terminal;
	struct winsize size; /* when the table was drawn */
	unsigned int lines;  /* of it */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int take_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? log_errno(errno, "signalfd") : fd;
}

/* Until the socket or the user has something to say, or it is `until` in host time (UINT64_MAX: never). */
static enum event wait_until(const struct watch *w, uint64_t until)
{
	struct pollfd fds[] = {{.fd = w->signal_fd, .events = POLLIN}, {.fd = w->fd, .events = POLLIN}};

	for (;;) {
		uint64_t now = now_ns();
		int ms = -1;

		if (until <= now)
			return EVENT_DUE;
		if (until != UINT64_MAX)
			ms = (int)((until - now) / NS_PER_MS + 1);
		if (poll(fds, 2, ms) < 0)
			continue;
		if (fds[0].revents)
			return EVENT_ASKED;
		if (fds[1].revents)
			return EVENT_INPUT;
	}
}

/* The run has dropped us, which it also does if others want our place. */
static enum event connect_again(struct watch *w)
{
	close(w->fd);
	w->fd = control_socket_reconnect(w->path);
	return w->fd < 0 ? EVENT_GONE : EVENT_DUE;
}

static bool make_room(struct watch *w)
{
	char *longer;

	if (w->room - w->used > PIECE)
		return true;
	longer = realloc(w->text, w->room + w->used + 2 * PIECE);
	if (!longer)
		return false;
	w->text = longer;
	w->room += w->used + 2 * PIECE;
	return true;
}

/* One line, which ends in a NUL then. EVENT_INPUT: there is none, the connection has ended. */
static enum event receive_line(struct watch *w)
{
	w->used = 0;
	for (;;) {
		enum event e = wait_until(w, UINT64_MAX);
		ssize_t n;

		if (e != EVENT_INPUT)
			return e;
		if (!make_room(w)) {
			log_errno(ENOMEM, "ctl: statistics");
			return EVENT_FAILED;
		}
		n = recv(w->fd, w->text + w->used, PIECE, 0);
		if (n <= 0)
			return EVENT_INPUT;
		w->used += (size_t)n;
		if (w->text[w->used - 1] == '\n') {
			w->text[w->used - 1] = '\0';
			return EVENT_DUE;
		}
	}
}

static enum event ask(struct watch *w)
{
	static const char request[] = "stats\n";

	for (;;) {
		enum event e = EVENT_INPUT;

		if (send(w->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1)
			e = receive_line(w);
		if (e != EVENT_INPUT)
			return e;
		e = connect_again(w);
		if (e != EVENT_DUE)
			return e;
	}
}

static struct winsize terminal_size(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		size = (struct winsize){.ws_col = 80, .ws_row = 24};
	return size;
}

/* In place of the last table; where lines may have been wrapped since, on a clear screen. */
static void draw(struct watch *w, const json_t *guests)
{
	struct winsize size = terminal_size();

	if (w->lines && (size.ws_col != w->size.ws_col || size.ws_row != w->size.ws_row))
		fputs("\033[H", stdout);
	else if (w->lines)
		printf("\r\033[%uA", w->lines);
	w->size = size;
	w->lines = stats_table_print(stdout, guests, w->before, size.ws_col, size.ws_row - 1u, "\033[K\n");
	fputs("\033[J", stdout);
}

static int show(struct watch *w, const json_t *guests)
{
	errno = 0;
	if (w->terminal)
		draw(w, guests);
	else if (json_dumpf(guests, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) || putchar('\n') == EOF)
		return log_errno(errno ? errno : EIO, "ctl: standard output");
	if (fflush(stdout) || ferror(stdout))
		return log_errno(errno ? errno : EIO, "ctl: standard output");
	return 0;
}

static int show_answer(struct watch *w)
{
	json_t *answer = json_loads(w->text, 0, NULL), *guests = json_object_get(answer, "guests");
	const char *error = json_string_value(json_object_get(answer, "error"));
	int r;

	if (!json_is_array(guests))
		r = log_bad(EPROTO, "%s: %s", w->path, error ? error : "an answer that makes no sense");
	else
		r = show(w, guests);
	json_decref(w->before);
	w->before = json_incref(guests);
	json_decref(answer);
	return r;
}

/* Until something else than that it is time for the next look. */
static enum event watch(struct watch *w, uint64_t every_ns)
{
	for (uint64_t next = now_ns();;) {
		enum event e = ask(w);

		if (e != EVENT_DUE)
			return e;
		if (show_answer(w) < 0)
			return EVENT_FAILED;
		next += every_ns;
		next = next > now_ns() ? next : now_ns();
		while (e = wait_until(w, next), e == EVENT_INPUT && connect_again(w) == EVENT_DUE)
			;
		if (e != EVENT_DUE)
			return e == EVENT_INPUT ? EVENT_GONE : e;
	}
}

static int status_of(const struct watch *w, enum event e)
{
	if (e == EVENT_GONE && !w->before) {
		log_print(LOG_ERROR, "%s: the run ended before it answered", w->path);
		return EXIT_BAD;
	}
	return e == EVENT_FAILED ? EXIT_BAD : 0;
}

int stats_watch(const char *socket, unsigned int every_ms)
{
	struct watch w = {.path = socket, .terminal = isatty(STDOUT_FILENO)};
	int status = EXIT_BAD;

	w.fd = control_socket_connect(socket);
	if (w.fd < 0)
		return EXIT_BAD;
	w.signal_fd = take_signals();
	if (w.signal_fd >= 0) {
		status = status_of(&w, watch(&w, every_ms * NS_PER_MS));
		close(w.signal_fd);
	}
	if (w.fd >= 0)
		close(w.fd);
	json_decref(w.before);
	free(w.text);
	return status;
}
