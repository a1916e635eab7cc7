/*
 * A client of a run's control socket, as the tests of it need one: a place for the socket, a run that listens there,
 * requests and their answers, and `penumbra ctl`. Whatever is not as it must be fails the test. Every wait has a limit that
 * a slow host does not reach.
 */
#pragma once

#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tests/vm/spawn.h"

#define CONTROL_MS 1000000ull			     /* in ns */
#define CONTROL_LIMIT_NS (200000 * CONTROL_MS) /* for an answer; the lab is slow */
#define CONTROL_UNKNOWN "no such request; `penumbra ctl --help` lists them"

/* A directory with a socket in it, gone after the test. */
struct place {
	char directory[40], path[60];
};

struct place make_place(void);
void leave_place(const struct place *p); /* a run has removed its socket itself: fails if one is there */
bool is_there(const char *path);

/* A connected descriptor, the caller's to close; try_connect(): -1 and errno if there is none. */
int try_connect(const char *path);
int connect_to(const struct place *p);

/* Starts `run --control SOCKET WORDS` and waits until it listens. */
struct child start_run(const struct place *p, const char *words);

/* Ends it by request, or waits for its end with this status. `what` names the case in a failure. */
void quit(const struct place *p, struct child *c, const char *what);
void end_child(struct child *c, int status);

void send_text(int fd, const void *text, size_t size);

/* Waits for bytes or the end. Returns as read() does, an end by reset as 0. */
ssize_t receive(int fd, char *to, size_t room);

/* One line without its newline, or NULL at the end. The caller frees it. */
char *read_answer(int fd);

/* Frees the text. These and the next return an answer to json_decref(). */
json_t *parse_answer(char *text);
json_t *ask_fd(int fd, const char *request);
json_t *ask(const struct place *p, const char *request); /* on a connection of its own */

/* Take the answer. */
void assert_ok(json_t *answer, const char *what);
void assert_error(json_t *answer, const char *error, const char *what);
void ask_ok(const struct place *p, const char *request);

/* The statistics of all guests; json_decref() them. */
json_t *ask_stats(const struct place *p);
json_int_t number_of(const json_t *object, const char *field);

/* Of the first guest. */
json_int_t ask_position(const struct place *p);
void await_progress(const struct place *p, json_int_t position); /* until it has got further than that */

/* `penumbra ctl PATH REQUEST` */
struct outcome ctl(const char *path, const char *request);
void assert_ctl(const struct place *p, const char *request, const char *out);
void assert_ctl_refused(const char *path, const char *request, const char *part, const char *other);
