/*
 * A file without a place in the file system, for code that wants a path.
 */
#pragma once

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/elf_writer.h"

/* path opens the file as long as fd is open. */
struct memory_file {
	int fd;
	char path[40];
};

static inline struct memory_file file_of(const void *bytes, uint64_t size)
{
	struct memory_file f = {.fd = memfd_create("image", MFD_CLOEXEC)};

	ck_assert_int_ge(f.fd, 0);
	ck_assert_int_eq((int)pwrite(f.fd, bytes, size, 0), (int)size);
	snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
	return f;
}

static inline struct memory_file file_of_elf(const struct writer_elf *e)
{
	static uint8_t bytes[WRITER_FILE_SIZE];

	writer_write(e, bytes);
	return file_of(bytes, e->size);
}
