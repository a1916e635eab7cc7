/*
 * A directory of a test's own, in which it stands with what it hands to the program. Failures are the test's.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Makes one and goes there; its name goes to path[]. */
void enter_directory(char *path, size_t size);

/* Removes it with names[], which NULL ends: what else is in it the program has left there. */
void leave_directory(const char *path, const char *const *names);

void make_file(const char *path, const void *bytes, size_t size, mode_t mode);

/* The first `limit` bytes of a file of the build directory, as an executable file. */
void copy_image(const char *name, const char *to, size_t limit);
