/*
 * The VMs of one process: created one after the other, each started at once on a thread of its own, and waited for while
 * the calling thread carries input to the first VM and watches signals and time.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/control.h"
#include "vmm/terminal.h"
#include "vmm/vm.h"

struct fleet;
struct scavenge_options;
struct scavenging;

struct fleet_member {
	struct vm vm;
	struct fleet *fleet;
	uint64_t start_ns, end_ns; /* host time: begin of creation, end of the guest */
	_Atomic bool finished;
};

struct fleet {
	struct fleet_member *members;
	unsigned int count; /* of members created */
	int wake_fd;	    /* eventfd: a member finished, or the first one's console has room */
	int signal_fd;	    /* signals that end the run, and those of the terminal */
	int input_fd;	    /* for the first VM's console, -1 = none or ended */
	bool input_seekable;  /* a file or pipe, whose end the guest sees as ^D */
	bool input_away;    /* it is a terminal, and this process in its background */
	bool input_blocked; /* the console took less than we had */
	uint8_t input[256];
	size_t input_used;
	struct terminal terminal;
	struct control control;
	const struct scavenging *scavenging; /* NULL = there is none */
	void *scavenger;		     /* its own */
	uint64_t deadline_ns; /* host time at which guests are killed; UINT64_MAX = never */
	bool interrupted;
	bool ending; /* all were asked to end */
	uint64_t kick_ns; /* host time before which they are not kicked again */
};

/* An empty fleet of at most `max` VMs that reads input_fd (-1: none). Returns 0 or a logged -errno. */
int fleet_init(struct fleet *f, unsigned int max, int input_fd, uint64_t timeout_ms);

/* Creates the next VM from config (number and console.room are set here) and starts it. Returns 0 or a logged -errno. */
int fleet_launch(struct fleet *f, struct vm_config config);

/* Opens the control socket (control.h); path may be NULL. Before the first launch. Returns 0 or a logged -errno. */
int fleet_control(struct fleet *f, const char *path, const struct program *p);

/*
 * Has `ops` look after the RAM of all VMs, from their creation until they are destroyed. Before the first launch; *o must outlive the
 * fleet. Returns 0 or a logged -errno.
 */
int fleet_scavenge(struct fleet *f, const struct scavenging *ops, const struct scavenge_options *o);

/* Any thread: has fleet_wait() look around. */
void fleet_wake(struct fleet *f);

/* Has all VMs end soon. */
void fleet_ask_end(struct fleet *f, enum vm_end_kind kind);

/* Between launches, which take long where there are many: whether a signal or the deadline has ended the run by now. */
bool fleet_is_ending(struct fleet *f);

/* How long a member has been there, in ns of host time: from its creation until now or its guest's end. */
uint64_t fleet_member_ns(const struct fleet_member *m);

/* Returns when all have ended and what was asked of them is done; their threads are gone then. */
void fleet_wait(struct fleet *f);

/* Frees everything. All members have ended. */
void fleet_destroy(struct fleet *f);
