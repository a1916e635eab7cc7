/*
 * The page allocator: 4 KiB pages of RAM, counted references, no set-up cost that grows with RAM.
 *
 * Pages that were never used are carved off the end of what is in use; RAM reads zero at boot, so they need no
 * clearing. Freed pages go to one of two lists: those known to be zero, and those with old contents.
 * A page is named by its gpa; 0 is no page. Pages the allocator does not own (the image) count as shared for ever.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PAGE_SIZE 4096ull

/* Call once, before any other function of this file. */
void pages_init(void);
/* A page with one reference and any contents, or 0 when there is none left. */
uint64_t page_alloc(void);
/* The same, reading zero. */
uint64_t page_alloc_zero(void);
/*
 * Up to `wanted` pages in a row that were never used, *got of them, as by page_alloc_zero() each; 0 when there are none
 * left. For many pages at once: cheap for each of them, where the host interprets the kernel.
 */
uint64_t page_alloc_run(uint64_t wanted, uint64_t *got);
/* One reference more; the guest ends if a page would have more than 65535. */
void page_ref(uint64_t gpa);
/* Drops a reference; the last one frees the page. */
void page_unref(uint64_t gpa);
/* The same for a page whose only owner has left it all zero. */
void page_unref_zero(uint64_t gpa);
/* Whether someone else may be looking at the page, too. */
bool page_shared(uint64_t gpa);
/* How many pages are in use. */
uint64_t pages_in_use(void);

/* Where the kernel sees a gpa: at the same address. */
static inline void *page_pointer(uint64_t gpa)
{
	return (void *)gpa;
}
