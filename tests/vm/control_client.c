#include "tests/vm/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct place make_place(void)
{
	struct place p = {.directory = "/tmp/penumbra-control.XXXXXX"};

	ck_assert_ptr_nonnull(mkdtemp(p.directory));
	snprintf(p.path, sizeof(p.path), "%s/socket", p.directory);
	return p;
}

bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

void leave_place(const struct place *p)
{
	ck_assert_msg(!is_there(p->path), "%s is left behind", p->path);
	ck_assert_msg(rmdir(p->directory) == 0, "%s: %s", p->directory, strerror(errno));
}

int try_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

int connect_to(const struct place *p)
{
	int fd = try_connect(p->path);

	ck_assert_msg(fd >= 0, "%s: %s", p->path, strerror(errno));
	return fd;
}

struct child start_run(const struct place *p, const char *words)
{
	char line[600];
	struct child c;
	int fd;

	snprintf(line, sizeof(line), "run --control %s %s", p->path, words);
	c = child_start(&(struct spawn){.line = line, .limit_s = 400});
	while ((fd = try_connect(p->path)) < 0) {
		ck_assert_msg(!child_has_ended(&c), "%s: ended at once", line);
		usleep(2000);
	}
	close(fd);
	return c;
}

void send_text(int fd, const void *text, size_t size)
{
	ck_assert_int_eq(send(fd, text, size, MSG_NOSIGNAL), (ssize_t)size);
}

ssize_t receive(int fd, char *to, size_t room)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	ck_assert_msg(poll(&p, 1, (int)(CONTROL_LIMIT_NS / CONTROL_MS)) == 1, "no answer");
	n = read(fd, to, room);
	return n < 0 ? 0 : n;
}

char *read_answer(int fd)
{
	size_t size = 0, room = 4096;
	char *text = malloc(room);

	while (receive(fd, text + size, 1) == 1) {
		if (text[size] == '\n') {
			text[size] = '\0';
			return text;
		}
		if (++size == room)
			text = realloc(text, room *= 2);
	}
	ck_assert_msg(size == 0, "an answer breaks off: '%.*s'", (int)size, text);
	free(text);
	return NULL;
}

json_t *parse_answer(char *text)
{
	json_t *answer = json_loads(text, 0, NULL);

	ck_assert_msg(json_is_object(answer), "no JSON object: '%.500s'", text);
	ck_assert(json_is_boolean(json_object_get(answer, "ok")));
	free(text);
	return answer;
}

json_t *ask_fd(int fd, const char *request)
{
	char *text;

	send_text(fd, request, strlen(request));
	send_text(fd, "\n", 1);
	text = read_answer(fd);
	ck_assert_msg(text, "'%s' was not answered", request);
	return parse_answer(text);
}

json_t *ask(const struct place *p, const char *request)
{
	int fd = connect_to(p);
	json_t *answer = ask_fd(fd, request);

	close(fd);
	return answer;
}

void assert_ok(json_t *answer, const char *what)
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	ck_assert_msg(json_is_true(json_object_get(answer, "ok")), "%s: %s", what, error ? error : "no error");
	json_decref(answer);
}

void ask_ok(const struct place *p, const char *request)
{
	assert_ok(ask(p, request), request);
}

void assert_error(json_t *answer, const char *error, const char *what)
{
	ck_assert_msg(json_is_false(json_object_get(answer, "ok")), "%s: ok", what);
	ck_assert_str_eq(json_string_value(json_object_get(answer, "error")), error);
	json_decref(answer);
}

json_t *ask_stats(const struct place *p)
{
	json_t *answer = ask(p, "stats"), *guests = json_incref(json_object_get(answer, "guests"));

	ck_assert(json_is_array(guests));
	assert_ok(answer, "stats");
	return guests;
}

json_int_t number_of(const json_t *object, const char *field)
{
	const json_t *value = json_object_get(object, field);

	ck_assert_msg(json_is_integer(value) && json_integer_value(value) >= 0, "%s is no number", field);
	return json_integer_value(value);
}

json_int_t ask_position(const struct place *p)
{
	json_t *guests = ask_stats(p);
	json_int_t position = number_of(json_array_get(guests, 0), "positions");

	json_decref(guests);
	return position;
}

void await_progress(const struct place *p, json_int_t position)
{
	uint64_t limit = monotonic_ns() + CONTROL_LIMIT_NS;

	while (ask_position(p) <= position) {
		ck_assert_msg(monotonic_ns() < limit, "the guest does not get on");
		usleep(5000);
	}
}

void quit(const struct place *p, struct child *c, const char *what)
{
	struct outcome o;

	ask_ok(p, "quit");
	o = child_end(c);
	assert_complaint(&o, 130, "stopped", NULL, what);
	outcome_free(&o);
}

void end_child(struct child *c, int status)
{
	struct outcome o = child_end(c);

	ck_assert_msg(o.status == status, "status %d, not %d; '%s'", o.status, status, o.err.data);
	outcome_free(&o);
}

struct outcome ctl(const char *path, const char *request)
{
	char line[400];

	snprintf(line, sizeof(line), "ctl %s %s", path, request);
	return spawn_line(line, NULL);
}

void assert_ctl(const struct place *p, const char *request, const char *out)
{
	struct outcome o = ctl(p->path, request);

	assert_outcome(&o, 0, out, request);
	ck_assert_msg(o.err.size == 0, "%s: '%s'", request, o.err.data);
	outcome_free(&o);
}

void assert_ctl_refused(const char *path, const char *request, const char *part, const char *other)
{
	struct outcome o = ctl(path, request);

	assert_complaint(&o, 125, part, other, request);
	ck_assert_uint_eq(o.out.size, 0);
	outcome_free(&o);
}
