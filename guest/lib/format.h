/* printf-like formatting for kernel and user code, without the heap and without floating point. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/*
 * Writes the text of `fmt` and a NUL into `to`, cut to fit into `size` bytes (size > 0); returns the bytes written
 * without the NUL. Knows %% %c %s %d %i %u %x %p with l, ll, z, a width, '0' and '-'; anything else is copied as it is.
 */
size_t format(char *to, size_t size, const char *fmt, va_list args);
