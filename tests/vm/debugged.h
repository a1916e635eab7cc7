/*
 * A guest under a debugger that the test itself is: run, or recorded and replayed, with a client of gdb's protocol. Whatever is not as it
 * must be fails the test.
 */
#pragma once

#include "tests/unit/gdb_client.h"
#include "tests/vm/snapshot_place.h"

#define DEBUGGED_RIP 256 /* where RIP begins in an answer to `g`: behind 16 registers of 8 bytes, 2 characters each */

struct debugged {
	struct snapshot_place place;
	struct child child;
	struct gdb_client gdb;
};

/* Starts a command that waits for a gdb at the socket "PLACE/gdb", and connects. "%s" in it stands for the place. */
struct debugged debug(const char *command);

/* Records a guest in the test's mode (modes.h), then as debug() its replay. */
struct debugged debug_recorded(const char *words, const char *input);

/* Waits for the socket of a command that was started, and connects. */
void connect_gdb(struct debugged *d);

/* Kills the guest; the first one returns what the program said, and leaves the place. */
struct outcome kill_debugged(struct debugged *d);
void end_debugged(struct debugged *d);
