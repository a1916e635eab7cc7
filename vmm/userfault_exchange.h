/*
 * Other host pages in place of a guest's, while the guest runs: whoever has found a page to be zero, or equal to another, or not in
 * use, holds it, makes sure, exchanges it, and lets it go. Nobody writes a page that is held: who wants to waits.
 *
 * Any thread but those that serve; the calls for one hold by one thread at a time. Invariants beyond userfault.h's:
 *
 * 1. A page is exchanged only while it is held, and only for one with the same bytes, or for none while its bytes are where its
 *    pager finds them. So nobody who reads RAM can tell.
 * 2. Between userfault_exchange_begin() and _end() every page of RAM is present or absent, never untouched: reading a page that
 *    is not absent raises no fault. So the exchanging thread may read RAM.
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
	uint64_t gpa;
	unsigned int pages;
};

/*
 * RAM is registered from now on, and what nobody has touched has the host's zero page. Returns 0 or a logged -errno. `p` brings back
 * what will be dropped; it stays until userfault_destroy().
 */
int userfault_exchange_begin(struct userfault *u, struct pager *p);
void userfault_exchange_end(struct userfault *u);

/* Which of the pages are absent, of whatever pager. */
bool userfault_is_absent(struct userfault *u, uint64_t gpa);

/* Whether something of a file is mapped there; the exchanging thread only. */
bool userfault_is_shown(const struct userfault *u, uint64_t gpa);

/*
 * Holds whole pages of one region, at most USERFAULT_RUN. Returns 0, -EBUSY if one of them is pinned, absent, or somebody works on it, or
 * -ECANCELED if RAM is lost; then nothing is held.
 */
int userfault_hold(struct userfault *u, struct userfault_hold *h, uint64_t gpa, unsigned int pages);

/*
 * Of the held pages n from number `first` on: they get the host's zero page; or the pages of fd from `at` on, copied when somebody
 * writes them; or they are absent, and the pager of userfault_exchange_begin() is asked for them. Return 0, or a -errno that is not
 * logged: -ENOMEM from userfault_show() when the host maps no more, and nothing is changed; others mean that RAM is lost.
 */
int userfault_show_zero(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n);
int userfault_show(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n, int fd, uint64_t at);
int userfault_evict(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n);

/* The guest goes on with what is there. */
void userfault_let_go(struct userfault *u, struct userfault_hold *h);
