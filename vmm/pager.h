/*
 * Where absent pages of guest RAM come from: a snapshot's file, a store of cold pages, another machine. Implemented by who has
 * the pages; called by userfault.c when somebody touches one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pager {
	const char *name; /* for people, in the reason of a VM that ends because of it */
	unsigned int ahead; /* pages to ask for at a fault, 1..USERFAULT_RUN: more than one where neighbours come for free */

	/*
	 * Says what is in absent pages from gpa on, at most `pages` of them, in one region of RAM. Returns for how many it did
	 * (at least 1), or a logged -errno: then they are lost. *bytes is set to their bytes, in `buffer` (room for all) or in
	 * memory of the pager's that stays until its next call by the same thread; or to NULL: they are all zero.
	 *
	 * Called by several threads at a time. It must not touch guest RAM, nor wait for a thread that may be touching it (a
	 * vCPU's): that thread may be the one that waits for this page. It must come back some time, however late: when it
	 * takes longer than the deadline the VM ends, but its end waits for this call.
	 */
	int (*fetch)(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes);

	/*
	 * NULL, or asked by the serving thread when a touched page has been answered: how many absent pages from gpa on, which is behind
	 * it, to bring before anybody touches them, 0..USERFAULT_RUN.
	 */
	unsigned int (*read_ahead)(struct pager *p, uint64_t gpa);

	/*
	 * NULL, or told by the serving thread what came in because somebody touched it: pages of the pager's, or one that was never
	 * touched before (zero). Others wait meanwhile.
	 */
	void (*touched)(struct pager *p, uint64_t gpa, unsigned int pages);

	/*
	 * NULL, or told of all pages of the pager's that are present again, for whatever reason; `fault`: somebody touched one of them. It
	 * is not asked for them any more, unless they are given to it anew. Called by any thread, under a lock of userfault.h's: others
	 * wait meanwhile, and nothing of userfault.h may be called.
	 */
	void (*brought)(struct pager *p, uint64_t gpa, unsigned int pages, bool fault);
};
