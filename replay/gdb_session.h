/*
 * What is said with one gdb, packet by packet, without the connection: answers to requests, and when the guest is to go on.
 *
 * Each packet has one answer, but for those that let the guest go on: theirs is the next stop's reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "replay/gdb_points.h"
#include "replay/gdb_server.h"

/* What gdb_session_answer() returns besides enum gdb_resume. */
#define GDB_STANDS (-1)

/* Where packets go: at most GDB_PACKET_MAX bytes in each. */
struct gdb_sink {
	void (*send)(void *to, const void *data, size_t size);
	void *to;
};

struct gdb_session {
	struct gdb_target target;
	struct gdb_sink sink;
	char *description; /* gdb_description.h */
	size_t description_size;
	struct gdb_stop why; /* the last stop */
	/* Of this gdb: */
	bool no_ack; /* it wants no + and - any more */
	bool swbreak, hwbreak; /* it knows these reasons */
	bool waits; /* for a stop's reply */
	struct {
		bool on;
		uint64_t from, to; /* it steps as long as rip is from `from` up to, and not including, `to` */
	} range;
	struct gdb_points points;
};

/* Returns 0 or a logged -errno. */
int gdb_session_create(struct gdb_session *s, const struct gdb_target *target, const struct gdb_sink *sink);
void gdb_session_destroy(struct gdb_session *s);

/* The guest stands still, and gdb is gone: forgets what was agreed with it, and takes its points out of the guest. */
void gdb_session_reset(struct gdb_session *s);

/*
 * The guest has stopped: tells gdb, if it waits for that. True if gdb does not want to know yet, because it steps through a range
 * of addresses and the guest is still in there: another step is due. `interrupted`: the user wants to know in any case.
 */
bool gdb_session_stopped(struct gdb_session *s, const struct gdb_stop *why, bool interrupted);

/* Answers the packet `data`, which has a NUL behind its `size` bytes. Returns GDB_STANDS, or how the guest is to go on. */
int gdb_session_answer(struct gdb_session *s, const char *data, size_t size);

/* A packet that could not be read: -err is what gdb is told. */
void gdb_session_refuse(struct gdb_session *s, int err);
