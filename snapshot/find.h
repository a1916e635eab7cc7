/*
 * What there is at a path: a snapshot, a directory of checkpoints, or something that the user may have taken for one.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct reason;

/* Whether it is to be read as a snapshot, or as a directory of checkpoints. */
bool snapshot_is_at(const char *path);
bool checkpoints_are_at(const char *path);

/*
 * The snapshot that a path stands for: that one itself, or the newest checkpoint of a directory. Returns 0, or -errno with the
 * reason, which says what is there instead.
 */
int snapshot_find(const char *path, char found[PATH_MAX], struct reason *why);
