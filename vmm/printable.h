/*
 * Text from outside (a file's names, a path) made fit for a terminal and for JSON.
 */
#pragma once

#include <stddef.h>

/*
 * Copies in[0, size) up to its first NUL into out[0, room), room > 0, NUL-terminated and cut if it
 * is too long. What is not printable UTF-8 (control characters of every kind, broken sequences)
 * becomes '?', one for each byte. Returns out.
 */
char *printable(char *out, size_t room, const char *in, size_t size);
