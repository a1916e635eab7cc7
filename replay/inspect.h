/*
 * `penumbra inspect DIR`: what a recording is, and whether it is whole.
 */
#pragma once

#include <stdbool.h>

bool recording_inspect_knows(const char *path);

/* Checks all of its log, and that its start is there. Returns the program's exit status; what is wrong with it has been logged. */
int recording_inspect(const char *path, bool json);

/* The same for its events, one by one. */
int recording_inspect_events(const char *path, bool json);
