/*
 * Names and texts of a comparison, which may come from a file of anybody, made fit to be printed
 * (vmm/printable.h).
 */
#pragma once

#include <stddef.h>

#define LABEL_ROOM 256

/* Fills out[LABEL_ROOM] and returns it. */
char *label(char *out, const char *text);

/* How many columns of a terminal it takes, at one a character. */
size_t label_width(const char *text);

/* Bytes of the first `width` characters, or of all if there are fewer. */
size_t label_prefix(const char *text, size_t width);
