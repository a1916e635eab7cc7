#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "vmm/command_line.h"
#include "vmm/control_socket.h"
#include "vmm/log.h"
#include "vmm/program.h"

struct words {
	const char *socket;
	char request[256];
	size_t used;
};

static const char doc[] =
	"Steer a running guest through the socket that `penumbra run --control SOCKET` made.\v"
	"Requests:\n"
	"  pause      the guest and its clock stand still\n"
	"  resume     and go on\n"
	"  stats      print statistics so far, as JSON\n"
	"  mmu MODE   go on under another MMU mode, at the same instruction\n"
	"  quit       end the guest\n\n"
	"With several guests (--count) a request goes to all of them.";

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct words *w = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (!w->socket) {
		w->socket = arg;
		return 0;
	}
	if (w->used + strlen(arg) + 2 > sizeof(w->request) || strchr(arg, '\n'))
		return -log_bad(EINVAL, "ctl: no such request");
	w->used += (size_t)sprintf(w->request + w->used, "%s%s", w->used ? " " : "", arg);
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
	static const struct argp argp = {NULL, on_key, "SOCKET REQUEST…", doc, NULL, NULL, NULL};
	struct words w = {0};
	int fd;

	if (command_line_parse(&argp, argc, argv, &w) < 0)
		return EXIT_BAD;
	if (!w.used) {
		log_print(LOG_ERROR, "ctl: name a socket and a request; try `penumbra ctl --help`");
		return EXIT_BAD;
	}
	fd = control_socket_connect(w.socket);
	if (fd < 0)
		return EXIT_BAD;
	w.request[w.used++] = '\n'; /* in place of the NUL */
	return ask(&w, fd);
}
