#include "tests/vm/write_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>

/* The program has none of this, so there is nowhere else to keep it. */
static struct write_faults faults;
static _Atomic unsigned int calls; /* 0: no directory for a snapshot has been asked for yet */

static __attribute__((constructor)) void read_faults(void)
{
	const char *text = getenv(WRITE_FAULTS);

	if (text && sscanf(text, "%u %u %d %u", &faults.first, &faults.count, &faults.error, &faults.kill) != 4)
		abort();
}

/* The number of this call, 0 before the first snapshot. */
static unsigned int count_call(bool first)
{
	unsigned int n = first || atomic_load(&calls) ? atomic_fetch_add(&calls, 1) + 1 : 0;

	if (n && n == faults.kill)
		raise(SIGKILL);
	return n;
}

static bool fails(bool first)
{
	unsigned int n = count_call(first);

	if (!n || !faults.first || n < faults.first || n - faults.first >= faults.count)
		return false;
	errno = faults.error;
	return true;
}

#define WRAP(type, name, failure, parameters, ...) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		return fails(false) ? failure : __real_##name(__VA_ARGS__); \
	}

/* What removes is a moment to be killed at, and does not fail: nothing could be done about it. */
#define WRAP_REMOVAL(name, parameters, ...) \
	int __real_##name parameters; \
	int __wrap_##name parameters; \
	int __wrap_##name parameters \
	{ \
		count_call(false); \
		return __real_##name(__VA_ARGS__); \
	}

WRAP(int, fsync, -1, (int fd), fd)
WRAP(int, fdatasync, -1, (int fd), fd)
WRAP(int, ftruncate64, -1, (int fd, off_t size), fd, size)
WRAP(int, mkdirat, -1, (int at, const char *path, mode_t mode), at, path, mode)
WRAP(int, rename, -1, (const char *from, const char *to), from, to)
WRAP(int, renameat2, -1, (int at, const char *from, int into, const char *to, unsigned int flags), at, from, into, to, flags)
WRAP_REMOVAL(unlinkat, (int at, const char *path, int flags), at, path, flags)
WRAP_REMOVAL(rmdir, (const char *path), path)

char *__real_mkdtemp(char *path);
char *__wrap_mkdtemp(char *path);
ssize_t __real_pwrite64(int fd, const void *from, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *from, size_t size, off_t at);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...);

char *__wrap_mkdtemp(char *path)
{
	return fails(true) ? NULL : __real_mkdtemp(path);
}

ssize_t __wrap_pwrite64(int fd, const void *from, size_t size, off_t at)
{
	if (fails(false))
		return -1;
	return __real_pwrite64(fd, from, size > 1 && atomic_load(&calls) % 2 ? size / 2 : size, at);
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

/* Files are opened for much else. */
int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return flags & O_DIRECTORY && fails(false) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_openat64(int at, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = mode_of(flags, args);
	va_end(args);
	return fails(false) ? -1 : __real_openat64(at, path, flags, mode);
}
