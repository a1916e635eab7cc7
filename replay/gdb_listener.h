/*
 * Where a gdb can connect to: a TCP port or a Unix socket.
 */
#pragma once

#include <stdbool.h>

#include "vmm/control_socket.h"

#define GDB_ADDRESS_MAX 160u

struct gdb_listener {
	int fd; /* non-blocking */
	struct control_socket unix_socket; /* of unix:PATH */
	bool is_unix;
	char address[GDB_ADDRESS_MAX]; /* as gdb's `target remote` takes it */
};

/* `where` as in gdb_server.h; unix:PATH has to outlive the listener. Returns 0 or a logged -errno. */
int gdb_listener_open(struct gdb_listener *l, const char *where);
void gdb_listener_close(struct gdb_listener *l);

/* Returns a non-blocking connection, -EAGAIN if nobody is there (any more), or a logged -errno. */
int gdb_listener_accept(struct gdb_listener *l);
