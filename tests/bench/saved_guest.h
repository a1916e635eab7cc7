/*
 * A guest that is saved while it runs, by the program as its users run it, in a directory of its own: snapshots and checkpoints
 * come there, its console is the file `out` of it, and what the program says is its `log`.
 */
#pragma once

#include <stdint.h>

#include "tests/bench/child.h"

struct bench;

struct saved_guest {
	const struct bench *bench;
	char directory[40], control[60], log[60], out[60];
	struct child child;
};

/* How long a guest stood still for a snapshot of so many pages, and until the request was answered. */
struct saved_pause {
	double pause_us, pages, answer_us;
};

/* Makes its directory. What fails, here and below, ends the benchmark. */
void saved_guest_make(struct saved_guest *g, const struct bench *b);

/*
 * Starts it: options of `run`, image and arguments, separated by spaces. `input` as of child_options: if there is one, the
 * console is standard input and output instead. Returns when the guest has said something, or after a moment if it has input to
 * wait for.
 */
void saved_guest_start(struct saved_guest *g, const char *words, const char *input);

/* Writes "DIRECTORY/name" to path. */
const char *saved_guest_path(const struct saved_guest *g, const char *name, char path[80]);

/* A request of the control socket, such as "pause". µs until it was answered. */
double saved_guest_ask(const struct saved_guest *g, const char *request);

/* Saves it as `name`. */
struct saved_pause saved_guest_save(const struct saved_guest *g, const char *name);

/* The pauses for incremental checkpoints of from `low` to `high` pages so far, at most `most`. Returns their number. */
unsigned int saved_guest_increments(const struct saved_guest *g, double low, double high, struct saved_pause *p,
				    unsigned int most);

/* Ends the guest; its directory is there until saved_guest_remove(). */
void saved_guest_stop(const struct saved_guest *g);
void saved_guest_remove(const struct saved_guest *g);

/* Removes one of its snapshots, or all checkpoints in a directory. */
void saved_guest_drop(const struct saved_guest *g, const char *name);
