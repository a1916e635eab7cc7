/*
 * One line per message on stderr: `penumbra: what: why`. The level is the only global of the program, but for
 * the watchdog's list (watchdog.c).
 */
#pragma once

#include <stdarg.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* The level above which messages are dropped; LOG_WARN at start. Set once, before threads start. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Turns "error", "warn", "info", "debug" into a level. Returns 0, or -EINVAL for any other name. */
int log_level_parse(const char *name, enum log_level *level);

/* Prints one line; control characters in it are replaced, so no input can forge a second line. */
void log_print(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Says that the host failed: logs `penumbra: FMT…: strerror(err)` as an error and returns -err, so a function can
 * write `return log_errno(errno, "open %s", path)`. err is positive. Logs nothing twice: callers only pass it up.
 */
int log_errno(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Says that an input is bad (no errno to name): logs `penumbra: FMT…` as an error and returns -err. */
int log_bad(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
