#include "tests/vm/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static struct {
	_Atomic unsigned int calls, target;
	_Atomic bool fired;
	char name[40];
} faults;

void faults_arm(unsigned int n)
{
	atomic_store(&faults.fired, false);
	atomic_store(&faults.target, n);
	atomic_store(&faults.calls, 0);
}

void faults_disarm(void)
{
	atomic_store(&faults.target, 0);
}

const char *faults_fired(void)
{
	return atomic_load(&faults.fired) ? faults.name : NULL;
}

static bool fails(const char *name, unsigned long number)
{
	if (atomic_fetch_add(&faults.calls, 1) + 1 != atomic_load(&faults.target))
		return false;
	snprintf(faults.name, sizeof(faults.name), number ? "%s %#lx" : "%s", name, number);
	atomic_store(&faults.fired, true);
	return true;
}

#define WRAP(type, name, error, failure, parameters, ...)                                                              \
	type __real_##name parameters;                                                                                 \
	type __wrap_##name parameters;                                                                                 \
	type __wrap_##name parameters                                                                                  \
	{                                                                                                              \
		if (fails(#name, 0)) {                                                                                 \
			errno = error;                                                                                 \
			return failure;                                                                                \
		}                                                                                                      \
		return __real_##name(__VA_ARGS__);                                                                     \
	}

WRAP(void *, malloc, ENOMEM, NULL, (size_t size), size)
WRAP(void *, calloc, ENOMEM, NULL, (size_t count, size_t size), count, size)
WRAP(void *, realloc, ENOMEM, NULL, (void *old, size_t size), old, size)
WRAP(void *, mmap64, ENOMEM, MAP_FAILED, (void *at, size_t size, int prot, int flags, int fd, off_t offset), at, size, prot,
     flags, fd, offset)
WRAP(int, eventfd, EMFILE, -1, (unsigned int value, int flags), value, flags)
WRAP(int, signalfd, EMFILE, -1, (int fd, const sigset_t *set, int flags), fd, set, flags)
WRAP(int, pthread_create, EAGAIN, EAGAIN, (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg), t, a, f,
     arg)
WRAP(int, timer_create, EAGAIN, -1, (clockid_t clock, struct sigevent *event, timer_t *t), clock, event, t)
WRAP(int, timer_settime, EINVAL, -1, (timer_t t, int flags, const struct itimerspec *when, struct itimerspec *old), t,
     flags, when, old)
WRAP(int, sigaction, EINVAL, -1, (int number, const struct sigaction *action, struct sigaction *old), number, action, old)
WRAP(int, stat64, EIO, -1, (const char *path, struct stat64 *st), path, st)
WRAP(int, fstat64, EIO, -1, (int fd, struct stat64 *st), fd, st)
WRAP(ssize_t, pread64, EIO, -1, (int fd, void *to, size_t size, off_t offset), fd, to, size, offset)
WRAP(ssize_t, read, EIO, -1, (int fd, void *to, size_t size), fd, to, size)
WRAP(ssize_t, getrandom, EIO, -1, (void *to, size_t size, unsigned int flags), to, size, flags)
WRAP(FILE *, fopen64, EMFILE, NULL, (const char *path, const char *mode), path, mode)

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_madvise(void *at, size_t size, int advice)
{
	/* Dropping pages of a mapping of one's own fails for wrong arguments only. */
	if (advice != MADV_DONTNEED && fails("madvise", 0)) {
		errno = ENOMEM;
		return -1;
	}
	return __real_madvise(at, size, advice);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (fails("open64", 0)) {
		errno = EMFILE;
		return -1;
	}
	return __real_open64(path, flags, mode);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fails("ioctl", request)) {
		errno = ENOMEM;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}
