/*
 * What `snapshot --incremental` makes of a running guest: the first time all of it, then each time what was written since the last one,
 * which stands beside the new one. There is one such chain for a guest; it ends with its VM.
 */
#pragma once

#include <stdbool.h>

struct epoch;
struct reason;
struct vm;

/*
 * The vCPU's thread: the next part is to be written to `path`. NULL with the reason: another one is being written, or the last one is
 * in another directory. Until chain_done() it is the caller's.
 */
struct epoch *chain_begin(struct vm *vm, const char *path, struct reason *why);

/* Any thread: it was written to `path`, or not. */
void chain_done(struct vm *vm, const char *path, bool written);
