/*
 * Other host pages in place of a guest's, while the guest runs: whoever has found a page to be zero, or equal to another, or not in
 * use, holds it, makes sure, exchanges it, and lets it go. Nobody writes a page that is held: who wants to waits.
 *
 * Any thread but those that serve, and several at a time; the calls for one hold by one at a time. Invariants beyond userfault.h's:
 *
 * 1. A page is exchanged only while it is held, and only for one with the same bytes, or for none while its bytes are where its
 *    pager finds them. So nobody who reads RAM can tell.
 * 2. Between userfault_exchange_begin() and _end() every page of RAM is present or absent, never untouched: reading a page that
 *    is not absent raises no fault. So the exchanging thread may read RAM. (While userfault_discard() makes a page zero it is neither;
 *    who reads it then waits until it is, and may.)
 * 3. A page over which a file's page is mapped is marked (userfault_is_shown()) until something else is mapped there, also when
 *    the guest has written it and has its own copy: dropping that would bring back the file's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/userfault.h"
#include "vmm/userfault_claim.h"

struct userfault_hold {
	struct userfault_claim claim;
	uint64_t gpa, exchanged; /* the latter by bits: pages that are not protected any more */
	unsigned int pages;
};

_Static_assert(USERFAULT_RUN <= 64, "a bit for each");

/*
 * The vCPU's thread, or nobody uses RAM yet; never when RAM is lost. RAM is registered from now on, until userfault_destroy(), and what
 * nobody has touched has the host's zero page, which takes a while. `p` brings back what will be dropped; it stays until
 * userfault_destroy(). RAM that is backed by a memfd (mem_backed()) is shown all over, and not backed any more. Returns 0 or a logged
 * -errno: -ENOTSUP where pages of a disk are mapped into RAM, or all of it is mapped from a file on a disk, or the kernel is too old.
 */
int userfault_exchange_begin(struct userfault *u, struct pager *p);

/* Nothing is held, and nothing will be. What was exchanged stays so. */
void userfault_exchange_end(struct userfault *u);

/* Any thread: whether the page is absent, of whatever pager. */
bool userfault_is_absent(struct userfault *u, uint64_t gpa);

/* The same of at most USERFAULT_RUN pages of one region: a bit for each. */
uint64_t userfault_absent_bits(struct userfault *u, uint64_t gpa, unsigned int pages);

/* Any thread: whether something of a file is mapped there. */
bool userfault_is_shown(struct userfault *u, uint64_t gpa);

/*
 * Holds whole pages of one region, at most USERFAULT_RUN. Returns 0; or -EBUSY if one of them is pinned or absent, a guard wants it, or
 * somebody works on it; or -ECANCELED if RAM is lost. Then nothing is held. Who holds pages does not sleep: the guest may be waiting,
 * within userfault.h's deadline.
 */
int userfault_hold(struct userfault *u, struct userfault_hold *h, uint64_t gpa, unsigned int pages);

/*
 * Of the held pages n from number `first` on, which have not been exchanged in this hold: they get the host's zero page; or the pages of
 * fd, a memfd that has them, from `at` on, copied when somebody writes them; or they are absent, and the pager of
 * userfault_exchange_begin() is asked for them. From then on they may be written. Return 0, or a -errno that is not logged: -EBUSY: a
 * guard wants them by now, or somebody wrote one while it was to be evicted, and -ENOMEM: the host maps no more; then the pages hold
 * what they held, and are to be let go. Others mean that RAM is lost.
 *
 * One mapping more or two come and go with a run of pages that are shown. Those that are evicted leave a mapping of their own.
 */
int userfault_show_zero(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n);
int userfault_show(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n, int fd, uint64_t at);
int userfault_evict(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n);

/* The guest goes on with what is there. */
void userfault_let_go(struct userfault *u, struct userfault_hold *h);
