/*
 * A directory of checkpoints: snapshots whose names are numbers, 00000001 and on. The highest one is the newest; it, and with it
 * its parents, is complete, because a snapshot gets its name when it is.
 */
#pragma once

#include <stddef.h>

struct reason;

#define CHECKPOINT_NAME 9u /* digits and a NUL */

/* The name of a number. */
const char *checkpoint_name(unsigned int number, char name[CHECKPOINT_NAME]);

/* The highest number there is, 0 = none; or -errno with the reason. */
int checkpoints_newest(const char *directory, unsigned int *number, struct reason *why);

/* All numbers there are, ascending; the caller frees *number. Returns 0, or -errno with the reason. */
int checkpoints_all(const char *directory, unsigned int **number, size_t *count, struct reason *why);

/*
 * Removes snapshots with numbers below `keep`, and what somebody who was killed has left half made. What cannot be removed stays: it
 * is tried again the next time.
 */
void checkpoints_prune(const char *directory, unsigned int keep);
