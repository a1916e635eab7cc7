/*
 * Hex digits as gdb's remote protocol has them: numbers with the high digit first, bytes in the order of memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -1: none. */
static inline int gdb_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Writes two digits for each byte, and no NUL. Returns where they end. */
char *gdb_hex_write(char *to, const void *bytes, size_t size);

/* Reads two digits for each of `size` bytes. False if there are fewer; more may follow. */
bool gdb_hex_read(void *to, const char *text, size_t size);

/* Reads a number of at most 64 bits and moves *text behind it. False if there is none. */
bool gdb_hex_number(const char **text, uint64_t *n);

/* Moves *text over that character. False if it is another. */
bool gdb_text_skip(const char **text, char c);
