/*
 * A server with its guest on one end of a connection, and a client on the other.
 */
#pragma once

#include "tests/unit/gdb_client.h"
#include "tests/unit/gdb_fake.h"

struct gdb_rig {
	struct gdb_fake fake;
	struct gdb_client client;
};

/* A guest whose history ends at `end`, at a Unix socket, with a client that has connected. The first makes the guest only. */
void rig_init(struct gdb_rig *r, uint64_t end);
void rig_start(struct gdb_rig *r);
void rig_begin(struct gdb_rig *r, uint64_t end);

/* Kills the guest through gdb's protocol, and takes all down. */
void rig_end(struct gdb_rig *r);

/* Another client after the first, or the first again. */
void rig_reconnect(struct gdb_rig *r);
