/* Taking apart command lines: words and numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole of `text` as a decimal number (or hexadecimal after 0x) into *value; false if it is none or too large. */
bool parse_number(const char *text, uint64_t *value);
/* `text` as NAME=NUMBER; false if it is not that for this name. */
bool parse_option(const char *text, const char *name, uint64_t *value);
/*
 * Splits `line` at spaces, in place, into at most `max` words; returns how many. More words than that stay together as
 * the last one.
 */
int parse_words(char *line, char **words, int max);
