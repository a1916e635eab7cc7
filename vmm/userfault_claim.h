/*
 * Inside userfault*.c only: pages that one thread works on, and what is done with them. Under the lock of struct userfault, unless
 * something else is said.
 *
 * Pages have numbers here: those of the regions one after the other (mem_page_number()).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/userfault.h"

#define USERFAULT_WORD_BITS 64u

struct userfault_claim {
	uint64_t first; /* page */
	unsigned int count;
	struct userfault_source *source; /* who has these pages, which are absent; NULL = they are not */
	unsigned int guards; /* by bits: who has these pages saved in this claim */
	uint64_t since_ns;   /* when the first fault that waits for this was read; 0 = none waits */
	uint64_t until_ns;   /* when its pages were there; 0 = not yet */
	unsigned int looks;  /* of the watchdog since then */
	struct userfault_claim *next;
};

static inline bool userfault_test(const uint64_t *bits, uint64_t page)
{
	return bits && bits[page / USERFAULT_WORD_BITS] >> page % USERFAULT_WORD_BITS & 1;
}

static inline void userfault_set(uint64_t *bits, uint64_t page)
{
	bits[page / USERFAULT_WORD_BITS] |= 1ull << page % USERFAULT_WORD_BITS;
}

/* Takes the bit away; whether it was there. */
static inline bool userfault_take(uint64_t *bits, uint64_t page)
{
	bool was = userfault_test(bits, page);

	if (was)
		bits[page / USERFAULT_WORD_BITS] &= ~(1ull << page % USERFAULT_WORD_BITS);
	return was;
}

/* Who has this page; NULL = it is not absent. */
struct userfault_source *userfault_source_of(struct userfault *u, uint64_t page);

/* The one of this pager, which becomes one if it is none yet. Returns its number or a logged -errno. */
int userfault_source_add(struct userfault *u, struct pager *p);

/* What a range of whole pages of one region of RAM is in page numbers. */
void userfault_range(const struct userfault *u, uint64_t gpa, uint64_t size, uint64_t *first, uint64_t *end);

/*
 * Maps something else over pages of RAM, and has them registered: a file's pages from `at` on, or (fd -1) fresh memory. In between RAM
 * is unregistered there: who touches it sees the file's bytes, or zero, and writes unseen. -ENOMEM, not logged, if the host has no room
 * for it, and nothing is changed. Other errors mean that RAM is lost.
 */
int userfault_map(struct userfault *u, uint64_t first, uint64_t count, int fd, uint64_t at);

/* The same with pages of this memory, which is gone from where it was in any case; they come protected, but may have been written by then. */
int userfault_move_in(struct userfault *u, uint64_t first, uint64_t count, void *from);

/* Whether a file's page is mapped over one of these. */
bool userfault_any_shown(const struct userfault *u, uint64_t first, uint64_t count);

/* Drops what is in RAM. Where a file's pages are shown that is a matter of userfault_map(), with its errors. */
int userfault_empty(struct userfault *u, uint64_t first, uint64_t count);

/* The same, and the pages are absent for the source. */
int userfault_drop(struct userfault *u, struct userfault_source *s, uint64_t first, uint64_t count);

/* Words of a bitmap of all pages. */
uint64_t userfault_words(const struct userfault *u);

/* Guards that have the page to be saved, by bits. */
unsigned int userfault_guards_of(const struct userfault *u, uint64_t page);

/* The first claim that overlaps, NULL = none. */
struct userfault_claim *userfault_claimed(const struct userfault *u, uint64_t first, uint64_t count);

/*
 * Claims the page, which nobody has claimed, and at most max - 1 behind it that are alike: of the same source or none, and to be saved
 * for the same guards. With `saving` their bits go from the guards into the claim.
 */
void userfault_claim(struct userfault *u, struct userfault_claim *c, uint64_t page, uint64_t max, bool saving);

/* Ends a claim whose pages are as they should be, and wakes who waits for it; unregisters RAM if nobody needs it any more. */
void userfault_unclaim(struct userfault *u, struct userfault_claim *c);

/* Not under the lock: calls save() of the claim's guards for pages of it. */
void userfault_tell_guards(struct userfault *u, const struct userfault_claim *c, uint64_t page, const void *bytes,
			   unsigned int pages);

/* Lets the claim's present pages be written, but those that a guard wants again by now. */
void userfault_let_write(struct userfault *u, const struct userfault_claim *c);

/*
 * Not under the lock: asks the source's pager for pages of a claim; `buffer` has room for them. Returns for how many it answered, or a
 * logged -errno. *bytes is NULL for zero pages.
 */
int userfault_fetch(struct userfault *u, const struct userfault_source *s, uint64_t page, unsigned int count, void *buffer, const void **bytes);

/*
 * Makes the first n pages of the claim present, with these bytes; the rest of it is woken. Tells the pager that has them. 0, or RAM is
 * lost.
 */
int userfault_install(struct userfault *u, struct userfault_claim *c, unsigned int n, const void *bytes, bool fault);

/*
 * Lets the lock go meanwhile: brings an absent page that nobody has claimed, and at most max - 1 behind it, by way of `buffer`, which
 * has room for USERFAULT_RUN. Returns how many, or a -errno that is logged; they stay absent.
 */
int userfault_bring(struct userfault *u, uint64_t page, uint64_t max, void *buffer);

/* Makes what is not present of these pages zero. Returns 0 or a -errno that is not logged. */
int userfault_zero(struct userfault *u, uint64_t page, unsigned int pages, bool protect);

/* RAM is lost, unless it was already. */
void userfault_fail(struct userfault *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Not under the lock: opens what is not open, and starts the thread. Returns 0 or a logged -errno. */
int userfault_open(struct userfault *u);

/* Registers RAM, until it is settled. Returns 0 or a logged -errno; -ECANCELED: RAM is lost. */
int userfault_need(struct userfault *u);

/* Unregisters RAM if there is neither an absent page nor a guard, and never was an exchange. */
void userfault_settle(struct userfault *u);

/* Opens what userfault_touched() reads. Returns 0 or a logged -errno. Takes no lock. */
int userfault_open_pagemap(struct userfault *u);

/* Which of `pages` pages hold anything: present, swapped out, or a file's. Not absent pages, and none that could come or go meanwhile. */
int userfault_touched(const struct userfault *u, uint64_t page, unsigned int pages, bool *touched);
