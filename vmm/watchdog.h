/*
 * Finds out that something takes too long although the thread that does it is stuck in it: one thread of the process looks at all
 * that is watched, each thing once in its period. It starts with the first and ends with the last, so that a thousand VMs cost
 * one thread, and a process without any costs none.
 *
 * Who is looked at counts looks, and not only time: a process that was stopped for a while, or that got no processor, has not
 * taken long.
 */
#pragma once

#include <stdint.h>

/* look() is called by the watchdog's thread. It must be quick, and may take locks that are never held for long. */
struct watchdog_entry {
	void (*look)(struct watchdog_entry *e);
	uint64_t period_ns;
	uint64_t due_ns; /* the watchdog's */
	struct watchdog_entry *next;
};

/* Any thread. Has e be looked at once in period_ns, or less often. Returns 0 or a logged -errno. */
int watchdog_add(struct watchdog_entry *e);

/* Any thread but the watchdog's, holding no lock that look() takes: when it returns, e is not looked at any more. */
void watchdog_remove(struct watchdog_entry *e);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t watchdog_now(void);
