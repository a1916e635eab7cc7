/*
 * A recording's directory: the snapshot that it begins with, and its log, which has another name until the guest has ended.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct reason;

enum recording_file { RECORDING_START, RECORDING_LOG, RECORDING_LOG_PARTIAL, RECORDING_FILES };

/* The path of one of them. Returns 0, or -errno with the reason: it is too long. */
int recording_file(char path[PATH_MAX], const char *directory, enum recording_file file, struct reason *why);

/* Whether there is a directory at `path` that is to be read as a recording. */
bool recording_is_at(const char *path);

/*
 * Opens the log, to read. *partial: it is not whole, because the guest runs still, or whoever recorded it was killed. Returns the
 * descriptor, or -errno with the reason; `name` is its path then.
 */
int recording_open_log(const char *directory, char name[PATH_MAX], bool *partial, struct reason *why);
