/*
 * Runs the program as its users do: words on a command line, bytes on standard input, a limit of time. What it said, how
 * it ended and what it took come back. A child that outlives its limit is killed with its process group, and the test
 * fails; none outlives the test.
 *
 * A command line is one string: words are split at single spaces, so two spaces make an empty word, and `@NAME` stands
 * for the guest image NAME of the build. The build directory is PENUMBRA_BUILD in the environment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPAWN_LIMIT_S 120u /* the lab is ten times slower than a real machine */
#define SPAWN_SIGNAL 256   /* status of a child that a signal ended: this + the signal */

enum spawn_stdin {
	SPAWN_PIPE, /* what the test sends, then its end */
	SPAWN_NULL, /* /dev/null */
	SPAWN_CLOSED,
	SPAWN_TTY,  /* the child's terminal, for input and output; the test holds the other side */
};

struct spawn {
	const char *line;
	const char *program;	    /* path of another program than penumbra, with the same commands */
	enum spawn_stdin in;
	const char *stdin_path;	    /* this file instead */
	const char *stdout_path;    /* this file instead of the test */
	bool stdout_broken;	    /* a pipe nobody reads from */
	unsigned int limit_s;	    /* 0 = SPAWN_LIMIT_S */
	void (*prepare)(void *arg); /* in the child, before the program; may end it by _exit() */
	void *arg;
};

/* Grows; always ends with a NUL that size does not count. */
struct bytes {
	char *data;
	size_t size;
};

struct child {
	pid_t pid;
	int in, out, err; /* the test's ends, -1 = closed */
	struct bytes said, complained, pending;
	size_t sent;	 /* of pending */
	size_t expected; /* of said: what child_expect() has passed */
	bool close_when_sent;
	uint64_t deadline_ns;
	char line[200]; /* as much of it as fits, to be told if it does not end */
};

struct outcome {
	int status; /* exit status, or SPAWN_SIGNAL + signal */
	struct bytes out, err;
	long peak_kib; /* resident */
};

/* Path of something in the build directory; the caller frees it. */
char *build_path(const char *relative);

/*
 * The words of a command line, behind the program's path as argv[0]; argv has room for `most` words and the NULL that ends
 * it. Each is the caller's to free. Returns their number.
 */
int split_line(const char *line, char **argv, int most);

/* Starts, sends `input` (NULL: nothing) as all of standard input, waits for the end. Free with outcome_free(). */
struct outcome spawn(const struct spawn *s, const void *input, size_t size);

/* spawn() of a line with a C string as input. */
struct outcome spawn_line(const char *line, const char *input);

void outcome_free(struct outcome *o);

/* The same in steps. */
struct child child_start(const struct spawn *s);
void child_send(struct child *c, const void *bytes, size_t size); /* queues; goes out while the test waits below */
void child_close_input(struct child *c);			   /* when all is sent */
void child_expect(struct child *c, const char *text);		   /* waits until the child has said this, after the last such text */
struct outcome child_end(struct child *c);			   /* closes the input, waits for the end */

/* Reads for `ms` without minding what comes; returns early only when the child has ended its output. */
void child_linger(struct child *c, unsigned int ms);

bool child_has_ended(const struct child *c);

/* KiB of RAM that it has of its own now, the host's page of zeros not counted. */
long child_resident_kib(const struct child *c);

uint64_t monotonic_ns(void);

/* Asks a guest's shell for its own clock: ms since its start. */
unsigned long child_shell_ms(struct child *c);

/* The child's end, as a test wants it. `what` names the case in a failure. */
void assert_outcome(const struct outcome *o, int status, const char *out, const char *what);

/* Ended with `status`, nothing but one line of our form on stderr, with every one of up to two parts (NULL: no matter). */
void assert_complaint(const struct outcome *o, int status, const char *part, const char *other, const char *what);
