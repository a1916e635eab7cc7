#include "replay/debugger.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "replay/debug_target.h"
#include "replay/gdb_server.h"
#include "replay/replayer.h"
#include "vmm/console.h"
#include "vmm/log.h"
#include "vmm/run.h"
#include "vmm/vm.h"

#define SIGNAL_KILL 9u /* by gdb's number */

static struct debugger *of_debug(struct debug *d)
{
	return (struct debugger *)((char *)d - offsetof(struct debugger, debug));
}

/* Indexed by how it is to go on; NULL: not by moving. */
static enum travel_end (*const moves[])(struct travel *t) = {
	[GDB_CONTINUE] = travel_run,
	[GDB_STEP] = travel_step,
	[GDB_REVERSE_CONTINUE] = travel_run_back,
	[GDB_REVERSE_STEP] = travel_back,
	[GDB_GONE] = NULL,
};

static enum gdb_stop_kind point_kind(enum debug_kind kind)
{
	static const enum gdb_stop_kind kinds[] = {
		[DEBUG_BREAK] = GDB_STOP_BREAK,
		[DEBUG_HARDWARE_BREAK] = GDB_STOP_HARDWARE_BREAK,
		[DEBUG_WATCH_WRITE] = GDB_STOP_WATCH,
		[DEBUG_WATCH_READ] = GDB_STOP_READ_WATCH,
		[DEBUG_WATCH_ACCESS] = GDB_STOP_ACCESS_WATCH,
	};

	return kinds[kind];
}

static struct gdb_stop stop_of(const struct travel *t, enum travel_end end)
{
	static const enum gdb_stop_kind kinds[] = {
		[TRAVEL_STEPPED] = GDB_STOP_SIGNAL,
		[TRAVEL_INTERRUPTED] = GDB_STOP_INTERRUPTED,
		[TRAVEL_BEGIN] = GDB_STOP_HISTORY_BEGIN,
		[TRAVEL_END] = GDB_STOP_HISTORY_END,
	};

	if (end == TRAVEL_POINT)
		return (struct gdb_stop){.kind = point_kind(t->stop.kind), .gva = t->stop.gva};
	return (struct gdb_stop){.kind = kinds[end]};
}

/* A guest that runs now stands still with its clock; that of one that is replayed moves only by its log. */
static enum gdb_resume serve(struct debugger *d, const struct gdb_stop *why)
{
	struct vm *vm = d->travel.vm;
	enum gdb_resume how;

	debug_take_out(vm);
	console_flush(&vm->console);
	if (!d->replayer)
		vm_pause(vm, true);
	how = gdb_server_serve(d->server, why);
	if (!d->replayer)
		vm_pause(vm, false);
	return how;
}

/* Without gdb, until another one comes. */
static enum travel_end run_alone(struct debugger *d)
{
	struct travel *t = &d->travel;

	travel_leave(t);
	while (!t->interrupted)
		if (!run_turn(t->vm))
			return TRAVEL_OVER;
	return travel_return(t);
}

static enum travel_end go_on(struct debugger *d, enum gdb_resume how)
{
	struct travel *t = &d->travel;

	if (how == GDB_DETACH)
		return run_alone(d);
	if (how <= GDB_REVERSE_STEP)
		return moves[how](t);
	if (how == GDB_KILL)
		vm_end(t->vm, VM_STOPPED, 0, "killed by the debugger");
	else if (!atomic_load(&t->vm->asked_end))
		vm_fail_said(t->vm, "the debugger", -EIO);
	return TRAVEL_OVER;
}

static void drive(struct debug *debug, struct vm *vm)
{
	struct debugger *d = of_debug(debug);
	struct gdb_stop stop = {.kind = GDB_STOP_SIGNAL};
	enum travel_end end;
	int r = travel_begin(&d->travel, vm, debug, d->replayer, !d->scavenged);

	if (r < 0) {
		vm_fail_said(vm, "the debugger", r);
		return;
	}
	gdb_server_wait(d->server);
	while ((end = go_on(d, serve(d, &stop))) != TRAVEL_OVER)
		stop = stop_of(&d->travel, end);
	debug_take_out(vm);
	travel_finish(&d->travel);
}

static void cancel(struct debug *debug)
{
	gdb_server_cancel(of_debug(debug)->server);
}

static void ended(struct debug *debug, const struct vm *vm)
{
	bool exited = vm->end.kind == VM_EXITED;

	of_debug(debug)->end = (struct gdb_stop){.kind = exited ? GDB_STOP_EXITED : GDB_STOP_KILLED, .code = exited ? vm->end.code : SIGNAL_KILL};
}

static const struct debug_ops ops = {.drive = drive, .cancel = cancel, .ended = ended};

int debugger_open(struct debugger *d, const char *where, struct replayer *r)
{
	const struct gdb_target target = {.ops = r ? &debug_target_replayed : &debug_target_running, .target = d};

	*d = (struct debugger){.debug.ops = &ops, .replayer = r};
	if (r)
		r->walks = true;
	return gdb_server_open(&d->server, where, &target);
}

void debugger_close(struct debugger *d)
{
	gdb_server_close(d->server, d->end.kind ? &d->end : NULL);
}

static int open_running(struct debug **debug, const char *where)
{
	struct debugger *d = malloc(sizeof(*d));
	int r = d ? debugger_open(d, where, NULL) : log_errno(ENOMEM, "--gdb");

	if (r < 0)
		free(d);
	else
		*debug = &d->debug;
	return r;
}

static void close_running(struct debug *debug)
{
	debugger_close(of_debug(debug));
	free(of_debug(debug));
}

const struct debugging_feature debugging_feature = {.open = open_running, .close = close_running};
