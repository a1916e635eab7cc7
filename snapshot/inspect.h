/*
 * `penumbra inspect DIR`: what a snapshot is, and whether it is whole, or what checkpoints there are. They are only read.
 */
#pragma once

#include <stdbool.h>

/* Whether there is a directory at `path` that is to be read so. */
bool snapshot_inspect_knows(const char *path);

/* Checks all of it and prints what it says. Returns the program's exit status; what is wrong with it has been logged. */
int snapshot_inspect(const char *path, bool json);
