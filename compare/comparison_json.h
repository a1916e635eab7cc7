/*
 * A comparison as one JSON object: written for programs, and read back to be joined with others. docs/shadow-vs-nested.md
 * names the fields.
 */
#pragma once

#include <stdio.h>

#include "compare/comparison.h"

#define COMPARISON_JSON_VERSION 1
#define COMPARISON_JSON_MAX (8u << 20) /* bytes of a file */

/*
 * Writes the object and a newline, with medians and with verdicts of all pairs, which reading passes over. Errors of writing stay in
 * ferror(out). Returns 0 or a logged -ENOMEM.
 */
int comparison_to_json(FILE *out, const struct comparison *c);

/*
 * Fills an empty comparison from a file, which may hold anything: what is not as comparison_to_json() writes it is one logged
 * line and -EINVAL, other trouble another -errno; the comparison is empty then. "-": standard input.
 */
int comparison_from_json(struct comparison *c, const char *path);

/* What is wrong with bytes that are no comparison, in one line. */
struct comparison_reason {
	char text[320];
};

/* The same from `size` bytes; -EINVAL is not logged but told in *why. */
int comparison_from_json_text(struct comparison *c, const char *text, size_t size, struct comparison_reason *why);
