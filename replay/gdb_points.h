/*
 * The break- and watchpoints that gdb has put into the guest: each is in the target once, however often gdb says so, and all can be
 * taken out when it goes.
 */
#pragma once

#include "replay/gdb_server.h"

#define GDB_POINTS_MAX 1024u

/* All zero at the start. */
struct gdb_points {
	unsigned int count;
	struct gdb_point point[GDB_POINTS_MAX];
};

/* Returns 0, also if it is there already; -ENOSPC; or what the target says. */
int gdb_points_insert(struct gdb_points *points, const struct gdb_target *target, const struct gdb_point *p);

/* Does nothing if it is not there. */
void gdb_points_remove(struct gdb_points *points, const struct gdb_target *target, const struct gdb_point *p);

void gdb_points_remove_all(struct gdb_points *points, const struct gdb_target *target);
