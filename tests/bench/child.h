/* A program under measurement: nothing on its standard input unless that is asked for, a pipe as standard output. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int output;	   /* read end of its standard output */
	int input;	   /* write end of its standard input, -1 = it has none */
	uint64_t start_ns; /* host time just before it was started */
};

struct child_times {
	double first_byte_us, exit_us; /* from start to first output and to end; 0 = not asked */
	double cpu_us; /* of all its threads, user space and kernel together: that sum is exact */
};

struct child_options {
	const char *setting; /* NULL, or one more setting NAME=VALUE for its environment */
	bool quiet;	     /* its standard error goes nowhere */
	const char *log;     /* NULL, or a file for its standard error */
	const char *input;   /* NULL, or bytes for its standard input: at most as many as fit into a pipe, which stays open */
};

/* argv[0] is the path; options may be NULL. A program that cannot be started ends the benchmark. */
struct child child_start(const char *const argv[], const struct child_options *options);

/* Waits for the first byte of its output; from its start, µs. */
double child_first_byte_us(const struct child *c);

/* Adds to its standard input, which it has by child_options. */
void child_say(const struct child *c, const char *bytes);

/* Reads its output to the end and waits for it; it must exit with 0. */
struct child_times child_finish(const struct child *c);

/* Asks it to end with SIGTERM and waits; whatever status it ends with is fine. */
void child_stop(const struct child *c);

/* One whole run of a program that prints something. */
struct child_times child_time(const char *const argv[]);
