#include "vmm/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/ensure.h"
#include "vmm/printable.h"

#define LOG_LINE_MAX 1024

static enum log_level current_level = LOG_WARN;

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	current_level = level;
}

enum log_level log_get_level(void)
{
	return current_level;
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (!strcmp(name, level_names[i])) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static void write_all(const char *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(STDERR_FILENO, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is nobody left to tell */
		bytes += n;
		size -= (size_t)n;
	}
}

/*
 * One write() a line, so that lines of several threads and processes do not mix. Names and words of others come into it: a
 * terminal must not obey them.
 */
static void print_line(const char *fmt, va_list args, const char *why)
{
	static const char prefix[] = "penumbra: ";
	char line[LOG_LINE_MAX], shown[LOG_LINE_MAX];
	size_t room = sizeof(line) - 1; /* the newline always fits */
	size_t n = sizeof(prefix) - 1;
	int saved = errno;
	int got;

	memcpy(line, prefix, n);
	errno = saved; /* for %m */
	got = vsnprintf(line + n, room - n, fmt, args);
	n += got < 0 ? 0 : strnlen(line + n, room - n);
	if (why) {
		got = snprintf(line + n, room - n, ": %s", why);
		n += got < 0 ? 0 : strnlen(line + n, room - n);
	}
	n = strlen(printable(shown, room, line, n));
	shown[n++] = '\n';
	write_all(shown, n);
	errno = saved;
}

void log_print(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (level > current_level)
		return;
	va_start(args, fmt);
	print_line(fmt, args, NULL);
	va_end(args);
}

int log_errno(int err, const char *fmt, ...)
{
	va_list args;

	ensure(err > 0);
	va_start(args, fmt);
	print_line(fmt, args, strerrordesc_np(err) ? strerrordesc_np(err) : "unknown error");
	va_end(args);
	return -err;
}

int log_bad(int err, const char *fmt, ...)
{
	va_list args;

	ensure(err > 0);
	va_start(args, fmt);
	print_line(fmt, args, NULL);
	va_end(args);
	return -err;
}

_Noreturn void ensure_failed(const char *condition, const char *file, int line)
{
	log_print(LOG_ERROR, "bug: %s:%d: does not hold: %s", file, line, condition);
	abort();
}
