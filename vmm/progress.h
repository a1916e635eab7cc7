/*
 * What is being done, on standard error while it takes long: one line that is written over, only on a terminal, and gone when the
 * work is done.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether anybody sees it. */
bool progress_is_seen(void);

/* Shows this line in place of the last one, cut to the terminal's width; and removes it. Nothing is done where nobody sees it. */
void progress_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void progress_no_line(void);

/* Bytes that are gone through, with how many a second. There is no line for work that is done within half a second. */
struct progress {
	const char *what; /* a path: may hold anything */
	uint64_t all, done;
	uint64_t start_ns, next_ns; /* host time; when the next line is due */
	bool seen, shown;
};

void progress_begin(struct progress *p, const char *what, uint64_t all);
void progress_add(struct progress *p, uint64_t bytes);
void progress_end(struct progress *p);
