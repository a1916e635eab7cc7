#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "vmm/command_line.h"
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

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return log_errno(ENAMETOOLONG, "%s", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return log_errno(errno, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int r = log_errno(errno, "%s", path);

		close(fd);
		return r;
	}
	return fd;
}

/* Prints what came besides "ok". Returns the exit status. */
static int print_answer(const char *path, const char *text)
{
	json_t *answer = json_loads(text, 0, NULL);
	const char *error = json_string_value(json_object_get(answer, "error"));
	json_t *guests = json_object_get(answer, "guests");
	int status = json_is_true(json_object_get(answer, "ok")) ? 0 : EXIT_BAD;

	if (!answer)
		log_print(LOG_ERROR, "%s: the run ended before it answered", path);
	else if (status)
		log_print(LOG_ERROR, "%s: %s", path, error ? error : "an answer that makes no sense");
	else if (guests && json_dumpf(guests, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) == 0)
		putchar('\n');
	json_decref(answer);
	return status;
}

static int ask(const struct words *w)
{
	int fd = connect_to(w->socket), status;
	char *text = NULL;
	size_t size = 0;
	FILE *stream;

	if (fd < 0)
		return EXIT_BAD;
	stream = fdopen(fd, "r+");
	if (!stream) {
		log_errno(errno, "%s", w->socket);
		close(fd);
		return EXIT_BAD;
	}
	fprintf(stream, "%s\n", w->request);
	fflush(stream);
	if (getline(&text, &size, stream) < 0) {
		log_print(LOG_ERROR, "%s: the run ended before it answered", w->socket);
		status = EXIT_BAD;
	} else {
		status = print_answer(w->socket, text);
	}
	free(text);
	fclose(stream);
	return status;
}

int cmd_ctl(const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {NULL, on_key, "SOCKET REQUEST…", doc, NULL, NULL, NULL};
	struct words w = {0};

	if (command_line_parse(&argp, argc, argv, &w) < 0)
		return EXIT_BAD;
	if (!w.used) {
		log_print(LOG_ERROR, "ctl: name a socket and a request; try `penumbra ctl --help`");
		return EXIT_BAD;
	}
	return ask(&w);
}
