/*
 * gdb's `monitor` commands: what gdb itself has no words for.
 */
#pragma once

#include <stdio.h>

struct debugger;

/* Says what the command has to say. Returns 0, or -EINVAL: there is no such command, or not with these words. */
int debug_monitor(struct debugger *d, const char *command, FILE *out);
