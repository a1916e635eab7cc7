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
	bool absent;
	unsigned int guards; /* by bits: who has these pages saved in this claim */
	uint64_t since_ns;   /* when the first fault that waits for this was read; 0 = none waits */
	unsigned int looks;  /* of the watchdog since then */
	struct userfault_claim *next;
};

static inline bool userfault_test(const uint64_t *bits, uint64_t page)
{
	return bits && bits[page / USERFAULT_WORD_BITS] >> page % USERFAULT_WORD_BITS & 1;
}

/* Words of a bitmap of all pages. */
uint64_t userfault_words(const struct userfault *u);

/* Guards that have the page to be saved, by bits. */
unsigned int userfault_guards_of(const struct userfault *u, uint64_t page);

/* The first claim that overlaps, NULL = none. */
struct userfault_claim *userfault_claimed(const struct userfault *u, uint64_t first, uint64_t count);

/*
 * Claims the page, which nobody has claimed, and at most max - 1 behind it that are alike: as absent, and to be saved for the
 * same guards. With `saving` their bits go from the guards into the claim.
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
 * Not under the lock: asks the pager for pages of a claim; `buffer` has room for them. Returns for how many it answered, or a
 * logged -errno. *bytes is NULL for zero pages.
 */
int userfault_fetch(struct userfault *u, uint64_t page, unsigned int count, void *buffer, const void **bytes);

/* Makes the first n pages of the claim present, with these bytes; the rest of it is woken. 0, or RAM is lost. */
int userfault_install(struct userfault *u, const struct userfault_claim *c, unsigned int n, const void *bytes);

/* RAM is lost, unless it was already. */
void userfault_fail(struct userfault *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens what is not open, starts the thread, and registers RAM. Returns 0 or a logged -errno. Takes the lock itself. */
int userfault_need(struct userfault *u);

/* Unregisters RAM if there is neither an absent page nor a guard. */
void userfault_settle(struct userfault *u);

/* Which of `pages` pages hold anything: present, or swapped out. Not absent pages, and none that could come or go meanwhile. */
int userfault_touched(const struct userfault *u, uint64_t page, unsigned int pages, bool *touched);
