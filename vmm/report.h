/*
 * A list of findings about the host, and its two faces: a table for people, JSON for programs.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#define REPORT_MAX 64

enum finding_state {
	FINDING_OK,
	FINDING_NOTE, /* works, but not as one might think */
	FINDING_LACK, /* not there; guests run without it */
	FINDING_BAD,  /* guests cannot run */
};

struct finding {
	const char *section; /* static text */
	enum finding_state state;
	char name[32];
	char what[128];	   /* what was found */
	char meaning[384]; /* what it means, or what to do */
};

struct report {
	const char *section; /* of the findings that follow */
	struct finding list[REPORT_MAX];
	unsigned int count;
};

/* Adds a finding; the text is what was found. Its meaning is empty until report_mean() tells it. */
void report_add(struct report *r, enum finding_state state, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* What the finding added last means, and what can be done. */
void report_mean(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Is nothing there that keeps guests from running? */
bool report_good(const struct report *r);

/* Prints a table `width` columns wide (76 if that is less), or one JSON object. 0, or -1 if `out` does not take it. */
int report_print(const struct report *r, FILE *out, int width);
int report_print_json(const struct report *r, FILE *out);

/*
 * Length of the piece of text that fits into `width` columns, broken at a space where there is one; *next is where the
 * following piece begins. Text is one byte a column.
 */
size_t report_piece(const char *text, size_t width, const char **next);
