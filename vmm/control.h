/*
 * The control socket of a run (--control PATH): a Unix stream socket on which `penumbra ctl` and other programs steer the
 * guests. A request is one line of words, the answer one line of JSON: {"ok": true, ...} or {"ok": false, "error": "..."}.
 *
 *	pause | resume | stats | quit | mmu MODE
 *
 * A request goes to all VMs of the process, and is answered when all have carried it out. Everything that comes in is
 * hostile: lines are bounded, clients that do not read their answers are dropped, and only the socket's owner can connect.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

struct fleet;
struct program;

#define CONTROL_MAX_CLIENTS 8
#define CONTROL_MAX_FDS (CONTROL_MAX_CLIENTS + 1)
#define CONTROL_MAX_LINE 256

struct control_request;

struct control_client {
	int fd; /* -1: free */
	char line[CONTROL_MAX_LINE];
	size_t used;
	struct control_request *request; /* under way; NULL = none */
};

struct control {
	const char *path; /* NULL: no control socket; not owned */
	const struct program *program;
	struct fleet *fleet;
	int fd;
	struct control_client clients[CONTROL_MAX_CLIENTS];
};

/*
 * Makes the socket; path may be NULL. A socket file that nobody listens on any more is replaced, anything else that exists is
 * an error. Returns 0 or a logged -errno.
 */
int control_init(struct control *c, const char *path, const struct program *p, struct fleet *f);

/* Removes the socket and drops the clients. All VMs have ended. */
void control_destroy(struct control *c);

/* Fills fds (CONTROL_MAX_FDS) with what to poll for; unused entries get fd -1. */
void control_poll(const struct control *c, struct pollfd *fds);

/* Handles what poll found, and answers requests that have been carried out. */
void control_handle(struct control *c, const struct pollfd *fds);
