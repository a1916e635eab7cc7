/*
 * What gdb sees of a guest and does to it (gdb_server.h): registers, memory, points, and `monitor` commands.
 */
#pragma once

struct gdb_target_ops;

/* The target is a struct debugger. A guest that is replayed can go back, and cannot be changed. */
extern const struct gdb_target_ops debug_target_running;
extern const struct gdb_target_ops debug_target_replayed;
