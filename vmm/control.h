/*
 * The control socket of a run (--control PATH): a Unix stream socket on which `penumbra ctl` and other programs steer the
 * guests. A request is one line of words, the answer one line of JSON: {"ok": true, ...} or {"ok": false, "error": "..."}.
 *
 *	pause | resume | stats | quit | mmu MODE | scavenge on|off | what features add (control_feature.h)
 *
 * A request goes to all VMs of the process, and is answered when all have carried it out. A client may send many, one
 * after the other or at once; they are carried out and answered in order. Everything that comes in is hostile: lines are
 * bounded, at most one answer waits for a client that does not read, and who is silent makes room for others. All
 * functions are called on the fleet's thread.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/control_socket.h"

struct control_request;
struct fleet;
struct program;

#define CONTROL_MAX_CLIENTS 8 /* the next ones wait */
#define CONTROL_MAX_FDS (CONTROL_MAX_CLIENTS + 1)
#define CONTROL_MAX_LINE 4352 /* a path and the words before it */
#define CONTROL_SILENCE_MS 1000 /* a client that does nothing for so long is dropped if others wait */

struct control_client {
	int fd; /* -1: gone; the slot is free if there is no request either */
	char line[CONTROL_MAX_LINE];
	size_t used;
	struct control_request *request; /* under way; NULL = none */
	char *answer;			 /* not yet taken by the client; NULL = none */
	size_t size, sent;		 /* of the answer */
	uint64_t seen_ns;		 /* host time at which it last did something */
};

struct control {
	bool on;
	bool resting; /* accepting failed: not again at once */
	const struct program *program;
	struct fleet *fleet;
	struct control_socket socket;
	struct control_client clients[CONTROL_MAX_CLIENTS];
};

/* Makes the socket; path may be NULL: then there is none. Returns 0 or a logged -errno. */
int control_init(struct control *c, const char *path, const struct program *p, struct fleet *f);

/* Removes the socket and drops the clients. All VMs have ended, their threads are gone, and nothing is busy. */
void control_destroy(struct control *c);

/* Whether a request is still being carried out. */
bool control_busy(const struct control *c);

/* Fills fds (CONTROL_MAX_FDS) with what to poll for; unused entries get fd -1. Returns the longest time to wait, ms or -1. */
int control_poll(const struct control *c, struct pollfd *fds);

/* Handles what poll found, and answers requests that have been carried out. */
void control_handle(struct control *c, const struct pollfd *fds);
