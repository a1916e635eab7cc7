/*
 * A server of gdb's remote protocol (gdb manual, appendix E) for one guest with one vCPU, which is thread 1. It knows the guest
 * only as the target below, and nothing of how that stops, steps or goes back.
 *
 *	gdb_server_open(&g, "1234", &target);
 *	gdb_server_wait(g);
 *	for (why = GDB_STOP_SIGNAL; run it as gdb_server_serve(g, &why) says; why = what stopped it)
 *		;
 *	gdb_server_close(g, &end);
 *
 * Everything that comes over the connection is hostile. The most it gets is what gdb can do: read and write guest memory and
 * registers where the target lets it, and stop the guest. A connection that is lost takes its break- and watchpoints with it, and
 * the guest stands still until another gdb has come. One connection at a time: a second one waits for the first to end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cpu_state;
struct gdb_server;

/* Why the guest stands still. The last two are for gdb_server_close() alone. */
enum gdb_stop_kind {
	GDB_STOP_SIGNAL,	 /* SIGTRAP: after a step in either direction, or at the start */
	GDB_STOP_BREAK,		 /* a software breakpoint: rip is its address */
	GDB_STOP_HARDWARE_BREAK, /* the same */
	GDB_STOP_WATCH,		 /* after the write */
	GDB_STOP_READ_WATCH,
	GDB_STOP_ACCESS_WATCH,
	GDB_STOP_INTERRUPTED,	/* SIGINT: interrupt() below */
	GDB_STOP_HISTORY_BEGIN, /* going back, at the first instruction */
	GDB_STOP_HISTORY_END,	/* going on, where the recording ends */
	GDB_STOP_EXITED,
	GDB_STOP_KILLED,
	GDB_STOP_KINDS,
};

struct gdb_stop {
	enum gdb_stop_kind kind;
	uint64_t gva; /* of a watchpoint: the address as it was asked for */
	uint8_t code; /* EXITED: the guest's exit status; KILLED: the signal, by gdb's number (9 KILL, 11 SEGV) */
};

/* How the guest is to go on. */
enum gdb_resume {
	GDB_CONTINUE,
	GDB_STEP, /* one instruction */
	GDB_REVERSE_CONTINUE,
	GDB_REVERSE_STEP,
	GDB_DETACH, /* run on without gdb; all points have been removed. Serve again only after interrupt(): another gdb has come */
	GDB_KILL,   /* end it */
	GDB_GONE,   /* no gdb is there and none will come: gdb_server_cancel(), or the host failed, which has been logged */
};

/* In the order of the protocol's packets Z0 to Z4. */
enum gdb_point_kind {
	GDB_POINT_BREAK,
	GDB_POINT_HARDWARE_BREAK,
	GDB_POINT_WATCH, /* written */
	GDB_POINT_READ_WATCH,
	GDB_POINT_ACCESS_WATCH, /* read or written */
	GDB_POINT_KINDS,
};

struct gdb_point {
	enum gdb_point_kind kind;
	uint64_t gva;
	uint64_t size; /* bytes watched: > 0, and gva + size does not wrap. Of a breakpoint it means nothing */
};

/*
 * The guest. All but interrupt() are called by the thread that is in gdb_server_serve(), while the guest stands still. They
 * return 0 or a negative errno, and log nothing: gdb tells its user.
 */
struct gdb_target_ops {
	/* Everything, as the guest believes it to be. */
	int (*registers)(void *target, struct cpu_state *cs);
	/*
	 * Of what registers() gave, gpr, rip, the bases of FS and GS, the flags that POPF changes at CPL 0, and x87 and SSE state may
	 * be different; addresses in them are canonical, MXCSR is one the CPU takes. -EPERM: not in a replay.
	 */
	int (*set_registers)(void *target, const struct cpu_state *cs);
	/* size > 0, within one page. All or nothing: -EFAULT where nothing is mapped, or no RAM. The guest's A bits stay as they are. */
	int (*read)(void *target, uint64_t gva, void *to, size_t size);
	/* size > 0, gva + size does not wrap, any number of pages. What lies before a fault may have been written. */
	int (*write)(void *target, uint64_t gva, const void *from, size_t size);
	/*
	 * Each point is inserted once, and removed once if that worked. -ENOTSUP: this kind never, to which gdb helps itself as it can: in
	 * place of a software breakpoint it writes an INT3 into the guest's memory. -ENOSPC: not so many.
	 */
	int (*insert)(void *target, const struct gdb_point *p);
	void (*remove)(void *target, const struct gdb_point *p);
	/*
	 * gdb's `monitor COMMAND`: text for the user goes to `out`, also that of what went wrong, for of an errno gdb shows nothing.
	 * -EINVAL: no such command, which is said. "help" is one. NULL: there are none.
	 */
	int (*monitor)(void *target, const char *command, FILE *out);
	/*
	 * Called by a thread of the server's, and only while the guest runs (serve() has returned and has not been entered again): have
	 * it stop soon and serve(GDB_STOP_INTERRUPTED) be called, because gdb's user said so, the connection was lost, or another gdb has
	 * come. It may not wait for the thread that runs the guest, nor call the server. gdb_server_interrupted() tells whether a kick
	 * that arrives late still means something.
	 */
	void (*interrupt)(void *target);
	bool reverses; /* knows GDB_REVERSE_CONTINUE and GDB_REVERSE_STEP */
};

struct gdb_target {
	const struct gdb_target_ops *ops;
	void *target;
};

/*
 * Listens. `where` is PORT (on 127.0.0.1), HOST:PORT, [HOST]:PORT, or unix:PATH, a socket for its owner alone; port 0 is any that
 * is free. Logs where, as a warning, so that it is seen. `target` is copied; what it points to has to outlive the server. No other
 * thread of the process may make files meanwhile (umask). Returns 0 or a logged -errno.
 */
int gdb_server_open(struct gdb_server **g, const char *where, const struct gdb_target *target);

/* What gdb's `target remote` wants to reach it. */
const char *gdb_server_address(const struct gdb_server *g);

/* Waits until a gdb has connected. Returns 0, -ECANCELED (gdb_server_cancel(), not logged), or a logged -errno. */
int gdb_server_wait(struct gdb_server *g);

/*
 * The guest stands still, for the reason `why`: tells gdb, and answers it until the guest is to go on. Without a gdb it waits for
 * one first. One thread at a time.
 */
enum gdb_resume gdb_server_serve(struct gdb_server *g, const struct gdb_stop *why);

/* Any thread: interrupt() was called since serve() returned. */
bool gdb_server_interrupted(const struct gdb_server *g);

/* Any thread, also a signal handler: from now on wait() and serve() return at once, and those that are under way soon. */
void gdb_server_cancel(struct gdb_server *g);

/*
 * Tells a gdb that waits for the guest to stop how it ended (`end`: EXITED or KILLED; NULL: nothing is said), hangs up, and frees
 * all. It does not call the target, whose points may still be there. No thread may be in wait() or serve(). NULL for g does nothing.
 */
void gdb_server_close(struct gdb_server *g, const struct gdb_stop *end);
