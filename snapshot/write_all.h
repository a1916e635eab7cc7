/*
 * Writing of files, whatever write() takes at a time.
 */
#pragma once

#include <stdint.h>

/* All of the bytes, at [at, at + size) of the file. Returns 0 or -errno. */
int write_all(int fd, const void *bytes, uint64_t size, uint64_t at);
