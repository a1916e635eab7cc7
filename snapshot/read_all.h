/*
 * Reading of files as they were when they were opened: a short one is an error.
 */
#pragma once

#include <stdint.h>

/* All of [at, at + size) of the file. Returns 0, -errno, or -ENODATA where the file ends before. */
int read_all(int fd, void *to, uint64_t size, uint64_t at);
