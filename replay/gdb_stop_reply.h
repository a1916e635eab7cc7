/*
 * What gdb is told when the guest has stopped (gdb manual, "Stop Reply Packets").
 */
#pragma once

#include <stdbool.h>

#include "replay/gdb_server.h"

#define GDB_STOP_REPLY_MAX 64u

/* Writes it to `text`, with a NUL, and returns it. swbreak, hwbreak: whether gdb knows these words. */
const char *gdb_stop_reply(char text[GDB_STOP_REPLY_MAX], const struct gdb_stop *why, bool swbreak, bool hwbreak);
