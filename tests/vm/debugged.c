#include "tests/vm/debugged.h"

#include <stdio.h>
#include <string.h>

#include "tests/vm/modes.h"

#define TRIES 6000 /* of 10 ms */
#define LIMIT_S 1700u /* the test's own ends it before */

void connect_gdb(struct debugged *d)
{
	char socket[80];

	snprintf(socket, sizeof(socket), "%s/gdb", d->place.control.directory);
	/* It is there before it listens. */
	d->gdb = (struct gdb_client){.acks = true, .fd = try_connect(socket)};
	for (int i = 0; i < TRIES && d->gdb.fd < 0; i++) {
		child_linger(&d->child, 10);
		d->gdb.fd = try_connect(socket);
	}
	ck_assert_int_ge(d->gdb.fd, 0);
	client_stop_acks(&d->gdb);
}

static void start(struct debugged *d, const char *command)
{
	char line[500];
	struct spawn s = {.line = line, .limit_s = LIMIT_S};

	snprintf(line, sizeof(line), command, d->place.control.directory, d->place.control.directory);
	d->child = child_start(&s);
	connect_gdb(d);
}

struct debugged debug(const char *command)
{
	struct debugged d = {.place = make_snapshot_place()};

	start(&d, command);
	return d;
}

struct debugged debug_recorded(const char *words, const char *input)
{
	struct debugged d = {.place = make_snapshot_place()};
	struct outcome recorded;
	char line[300];

	snprintf(line, sizeof(line), "run --mmu %s --record %s/rec %s", mmu_is_shadow() ? "shadow" : "ept", d.place.control.directory, words);
	recorded = spawn_line(line, input);
	outcome_free(&recorded);
	start(&d, "replay --log=info --gdb unix:%s/gdb %s/rec");
	return d;
}

struct outcome kill_debugged(struct debugged *d)
{
	client_send(&d->gdb, "k", 1);
	client_close(&d->gdb);
	return child_end(&d->child);
}

void end_debugged(struct debugged *d)
{
	struct outcome o = kill_debugged(d);

	ck_assert_msg(o.status == 130, "a guest that the debugger kills: status %d, %s", o.status, o.err.data);
	outcome_free(&o);
	leave_snapshot_place(&d->place);
}
