/*
 * The one synchronous userfaultfd of a guest's RAM: absent pages are brought in by a pager (pager.h) when somebody touches
 * them, and protected pages are saved by a client (a guard) before anybody writes them. Whoever touches the page waits for it,
 * wherever it is: the guest in KVM_RUN, the VMM behind mem_at(), a system call that reads or writes RAM.
 *
 * Nothing is opened before it is needed. While there is an absent page or a guard, all RAM is registered and a thread of this
 * VM's serves its faults: one thread a VM, because a pager may block, and one VM's pager must not hold up another's faults.
 *
 * Invariants:
 *
 * 1. The serving thread never touches guest RAM that may be absent or protected: it would wait for itself. That binds pagers
 *    and guards, which it calls; the lock is never held by who touches RAM.
 * 2. A page that somebody works on (fetches, saves) is *claimed*: nobody else works on it, faults on it are left to the
 *    claimer, and when the claim ends everybody who waits for the page looks again. So a page is fetched once, and is saved
 *    for a guard exactly once.
 * 3. Every fault is answered within the deadline. If that is not possible, or a page is lost, RAM counts as lost: first the
 *    owner is told (mem_is_lost() from then on), then everybody who waits goes on with zeros. What was read from RAM may be
 *    used only if mem_is_lost() is still false *after* it was read. The vCPU runs no more guest code, and no exit of it counts.
 * 4. Pages that are pinned (mem.h) are neither dropped nor protected; pinning makes them present.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/latency.h"
#include "vmm/mem.h"
#include "vmm/watchdog.h"

struct pager;
struct userfault_claim;

#define USERFAULT_RUN 64u /* pages that are fetched or saved at a time, at most */
#define USERFAULT_GUARDS 4u
#define USERFAULT_PAGERS 2u
#define USERFAULT_DEADLINE_MS 5000u

/*
 * A client that has pages saved before they are written. save() is told what was in whole pages of one region when they were
 * protected; NULL: they are zero. The bytes are good for the call only. It is called by the serving thread, while the guest
 * waits for it, and by userfault_save(); by several threads at a time, but once for a page. The rules of pager.h's fetch() hold
 * for it too. What goes wrong in it is its own affair: the guest goes on.
 */
struct userfault_guard {
	void (*save)(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages);
	uint64_t *pages; /* one bit a page: to be saved */
	uint64_t left;	 /* how many */
	uint64_t cursor; /* word of `pages` where userfault_save() looks next */
};

/* Counted under the lock; userfault_stats() copies them. */
struct userfault_stats {
	uint64_t fetched; /* pages brought by the pager at a fault, */
	uint64_t ahead;	  /* brought along with one, */
	uint64_t prefetched; /* or before any fault */
	uint64_t zeroed;  /* pages that were never touched before */
	uint64_t saved_at_fault, saved_behind; /* pages */
	uint64_t left_to_claimer, stale; /* faults on a page that another thread was busy with, or had been */
	struct latency answer; /* from reading a fault to when who waits can go on, those that the serving thread answered */
};

/* A pager and the pages that it has; a page is one's at most. */
struct userfault_source {
	struct pager *pager; /* NULL = none yet */
	uint64_t *absent;    /* one bit a page */
	uint64_t count;
};

struct userfault {
	struct mem *mem;
	void (*failed)(void *arg, const char *reason);
	void *arg;
	unsigned int deadline_ms; /* of each fault; set before the first need */

	bool open; /* the thread runs, the descriptors are good */
	int fd, stop_fd, pagemap_fd;
	pthread_t thread;
	uint8_t *buffer; /* the serving thread's */
	struct watchdog_entry watch;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t claim_ended;
	bool registered, failing;
	struct userfault_source source[USERFAULT_PAGERS];
	uint64_t *shown; /* one bit a page: something of a file is mapped there (userfault_exchange.h); NULL = nowhere */
	int brings;	 /* number of the source whose pager has what is exchanged for nothing; -1: nothing was ever exchanged */
	bool exchanging;
	struct userfault_guard *guard[USERFAULT_GUARDS];
	struct userfault_claim *claims;
	struct userfault_stats stats;
};

/*
 * Nothing is opened yet. failed() is called at most once, under the lock, when RAM is lost, by any thread but one that waits
 * for a page. Before it returns it sets mem->lost and sees to it that the vCPU does not go on. `reason` is for people.
 */
void userfault_init(struct userfault *u, struct mem *m, void (*failed)(void *arg, const char *reason), void *arg);

/* Ends the thread and closes all. Nobody uses RAM, the guards or userfault_prefetch() any more. */
void userfault_destroy(struct userfault *u);

/*
 * Own thread of the vCPU, guest not running: all of [gpa, gpa + size), whole pages of one region, is to come from p from now on;
 * what is in RAM is dropped. There are at most USERFAULT_PAGERS pagers, which stay until userfault_destroy(). Returns 0, -EBUSY if
 * a page is pinned, absent for another pager, or is being fetched, saved or held (nothing is done), or a logged -errno.
 */
int userfault_absent(struct userfault *u, struct pager *p, uint64_t gpa, uint64_t size);

/* How many pages are absent. Any thread. */
uint64_t userfault_absent_count(struct userfault *u);

/*
 * Any thread but those that serve: says what the page at gpa holds, and at most `pages` - 1 behind it in its region, and leaves them
 * absent if they are. Returns of how many it did, or a logged -errno. *bytes is set to their bytes, in `buffer` (room for USERFAULT_RUN
 * pages), in the pager's memory (until its next call by this thread), or in RAM where they are present; or to NULL: they are zero.
 */
int userfault_peek(struct userfault *u, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes);

/*
 * Any thread but those that serve: brings in what is absent in the range, USERFAULT_RUN pages at a time in `buffer` (which has
 * room for as many), except pages that another thread is bringing. Returns the number of pages brought, or a -errno that is
 * logged; the pages stay absent.
 */
int64_t userfault_prefetch(struct userfault *u, uint64_t gpa, uint64_t size, void *buffer);

/* Own thread of the vCPU: adds a guard, which protects nothing yet. Returns 0, or a logged -errno: -EBUSY for too many. */
int userfault_guard_add(struct userfault *u, struct userfault_guard *g);

/*
 * Own thread of the vCPU, guest not running: every page of the range (of one region) will be saved for g before it is written.
 * Absent pages, too; they stay absent. Returns 0, -EBUSY if a page is pinned (nothing is done), or a logged -errno.
 */
int userfault_protect(struct userfault *u, struct userfault_guard *g, uint64_t gpa, uint64_t size);

/*
 * Any thread but those that serve, and one at a time for a guard: saves the next pages that are still to be saved, at most
 * USERFAULT_RUN, behind the running guest; `buffer` has room for as many. Returns how many pages are left, or a logged -errno
 * when the pager fails: those pages were not saved.
 */
int64_t userfault_save(struct userfault *u, struct userfault_guard *g, void *buffer);

/* Any thread but those that serve: what is still to be saved is not saved any more. When it returns save() does not run. */
void userfault_unprotect(struct userfault *u, struct userfault_guard *g);

/* The same, and g is gone. */
void userfault_guard_remove(struct userfault *u, struct userfault_guard *g);

/* Any thread. */
void userfault_stats(struct userfault *u, struct userfault_stats *stats);
