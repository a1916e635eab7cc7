#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "vmm/command_line.h"
#include "vmm/control_socket.h"
#include "vmm/log.h"
#include "vmm/option_value.h"
#include "vmm/program.h"
#include "vmm/stats_watch.h"

#define WATCH_MS 1000u
#define MAX_WATCH_MS 3600000u

enum { KEY_COMPRESS = 0x100, KEY_INCREMENTAL, KEY_WATCH };

static const struct argp_option options[] = {
	{"compress", KEY_COMPRESS, NULL, 0, "With snapshot: store the guest's RAM compressed", 0},
	{"incremental", KEY_INCREMENTAL, NULL, 0, "With snapshot: store only what was written since the last one of this kind", 0},
	{"watch", KEY_WATCH, "MS", OPTION_ARG_OPTIONAL,
	 "With stats: again and again, every second or so many milliseconds, until the run ends or Ctrl-C; a table on a terminal, else a "
	 "line of JSON each time", 0},
	{0},
};

struct words {
	const char *socket;
	bool names_directory; /* the next word does */
	bool compress, incremental;
	unsigned int watch_ms; /* 0: once */
	char request[4352];
	size_t used;
};

static const char doc[] =
	"Steer a running guest through the socket that `penumbra run --control SOCKET` made.\v"
	"Requests:\n"
	"  pause      the guest and its clock stand still\n"
	"  resume     and go on\n"
	"  stats      print statistics so far, as JSON; with --watch again and again\n"
	"  mmu MODE   go on under another MMU mode, at the same instruction\n"
	"  snapshot DIR  save the guest, which goes on, into a new directory;\n"
	"             with --compress its RAM is stored compressed, with --incremental\n"
	"             only what was written since the last one that had it\n"
	"  record start DIR  from here on write down what comes to the guest, for `penumbra replay DIR`;\n"
	"             record stop, and the recording is whole\n"
	"  scavenge on|off  the scavenger of `run --scavenge` goes on, or rests\n"
	"  quit       end the guest\n\n"
	"With several guests (--count) a request goes to all of them, but snapshot and record, which are for one.";

/* The run may have another working directory: names of files are sent whole. */
static int add_word(struct words *w, const char *word)
{
	char here[PATH_MAX] = "";
	int n;

	if (w->names_directory && *word != '/' && !getcwd(here, sizeof(here)))
		return log_errno(errno, "ctl: working directory");
	n = snprintf(w->request + w->used, sizeof(w->request) - w->used, "%s%s%s%s", w->used ? " " : "", here, *here ? "/" : "",
		     word);
	if (w->used + (size_t)n + 1 > sizeof(w->request) || strchr(word, '\n'))
		return log_bad(EINVAL, "ctl: no such request");
	w->names_directory = (w->used == 0 && !strcmp(word, "snapshot")) || (!strcmp(w->request, "record start"));
	w->used += (size_t)n;
	return 0;
}

static int set_watch(struct words *w, const char *arg)
{
	w->watch_ms = WATCH_MS;
	return arg ? option_number("ctl", "watch", arg, MAX_WATCH_MS, &w->watch_ms) : 0;
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct words *w = state->input;

	w->compress |= key == KEY_COMPRESS;
	w->incremental |= key == KEY_INCREMENTAL;
	if (key == KEY_COMPRESS || key == KEY_INCREMENTAL)
		return 0;
	if (key == KEY_WATCH)
		return -set_watch(w, arg);
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (!w->socket) {
		w->socket = arg;
		return 0;
	}
	return -add_word(w, arg);
}

/* Options go before the directory: behind it they would be part of its name. */
static int add_option(struct words *w, const char *option)
{
	static const char request[] = "snapshot ";
	size_t at = sizeof(request) - 1, length = strlen(option);

	if (strncmp(w->request, request, at) != 0)
		return log_bad(EINVAL, "ctl: %s goes with snapshot DIR", option);
	if (w->used + length + 2 > sizeof(w->request))
		return log_bad(EINVAL, "ctl: no such request");
	memmove(w->request + at + length + 1, w->request + at, w->used - at + 1);
	memcpy(w->request + at, option, length);
	w->request[at + length] = ' ';
	w->used += length + 1;
	return 0;
}

static int print_guests(const json_t *guests)
{
	errno = 0;
	if (json_dumpf(guests, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) || putchar('\n') == EOF || fflush(stdout)) {
		log_errno(errno ? errno : EIO, "ctl: standard output");
		return EXIT_BAD;
	}
	return 0;
}

/* Prints what came besides "ok". Returns the exit status. */
static int print_answer(const char *path, const char *text)
{
	json_t *answer = json_loads(text, 0, NULL), *guests = json_object_get(answer, "guests");
	const char *error = json_string_value(json_object_get(answer, "error"));
	int status = EXIT_BAD;

	if (!json_is_true(json_object_get(answer, "ok")))
		log_print(LOG_ERROR, "%s: %s", path, error ? error : "an answer that makes no sense");
	else
		status = guests ? print_guests(guests) : 0;
	json_decref(answer);
	return status;
}

/* The run may end at any moment: then sending fails, or no answer comes. */
static int ask(const struct words *w, int fd)
{
	FILE *stream = fdopen(fd, "r");
	int status = EXIT_BAD;
	char *text = NULL;
	size_t size = 0;

	if (!stream) {
		log_errno(errno, "%s", w->socket);
		close(fd);
		return EXIT_BAD;
	}
	if (send(fd, w->request, w->used, MSG_NOSIGNAL) == (ssize_t)w->used && getline(&text, &size, stream) > 0)
		status = print_answer(w->socket, text);
	else
		log_print(LOG_ERROR, "%s: the run ended before it answered", w->socket);
	free(text);
	fclose(stream);
	return status;
}

int cmd_ctl(const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "SOCKET REQUEST…", doc, NULL, NULL, NULL};
	struct words w = {0};
	int fd;

	if (command_line_parse(&argp, argc, argv, &w) < 0)
		return EXIT_BAD;
	if (!w.used) {
		log_print(LOG_ERROR, "ctl: name a socket and a request; try `penumbra ctl --help`");
		return EXIT_BAD;
	}
	if ((w.compress && add_option(&w, "--compress") < 0) || (w.incremental && add_option(&w, "--incremental") < 0))
		return EXIT_BAD;
	if (w.watch_ms && strcmp(w.request, "stats")) {
		log_print(LOG_ERROR, "ctl: --watch goes with stats");
		return EXIT_BAD;
	}
	if (w.watch_ms)
		return stats_watch(w.socket, w.watch_ms);
	fd = control_socket_connect(w.socket);
	if (fd < 0)
		return EXIT_BAD;
	w.request[w.used++] = '\n'; /* in place of the NUL */
	return ask(&w, fd);
}
