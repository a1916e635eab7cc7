#include "vmm/userfault_discard.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

#define RUN 512u /* pages under the lock at a time; and a file's pages are not worth a mapping of their own if they are fewer */

/* What is to be done about a run of pages, or has been. */
enum doing {
	GIVEN,	/* they are zero, and not the guest's own */
	WRITE,	/* with zeros, by who does not hold the lock */
	TOUCH,	/* the first one by a write, so that it is saved; then look again */
	AGAIN,	/* something has changed */
	LOST,
};

struct run {
	enum doing doing;
	unsigned int pages;
};

static bool is_pinned(const struct userfault *u, uint64_t page, unsigned int pages)
{
	return mem_is_pinned(u->mem, mem_page_gpa(u->mem, page), pages * PAGE_SIZE);
}

/* Of at most so many pages, how many are present, and nobody's. */
static unsigned int free_run(struct userfault *u, uint64_t page, unsigned int most)
{
	bool pins = is_pinned(u, page, most);
	unsigned int n = 0;

	while (n < most && !userfault_source_of(u, page + n) && !userfault_guards_of(u, page + n) && !userfault_claimed(u, page + n, 1) &&
	       !(pins && is_pinned(u, page + n, 1)))
		n++;
	return n;
}

/* As far as they are shown, or are not, as the first one is. */
static unsigned int shown_run(const struct userfault *u, uint64_t page, unsigned int most)
{
	bool shown = userfault_test(u->shown, page);
	unsigned int n = 1;

	while (n < most && userfault_test(u->shown, page + n) == shown)
		n++;
	return n;
}

static struct run give_registered(struct userfault *u, uint64_t page, unsigned int n)
{
	int r;

	if (n < RUN)
		n = shown_run(u, page, n);
	if (n < RUN && userfault_test(u->shown, page))
		return (struct run){WRITE, n};
	r = userfault_empty(u, page, n);
	if (r == -ENOMEM)
		return (struct run){WRITE, n};
	/* Never untouched: userfault_exchange.h's second invariant. */
	if (r == 0)
		r = uffd_zero(u->fd, mem_page_hva(u->mem, page), n * PAGE_SIZE);
	if (r < 0)
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 " cannot be zero: %s", mem_page_gpa(u->mem, page), strerrordesc_np(-r));
	return (struct run){r < 0 ? LOST : GIVEN, n};
}

/* Where pages of a file are mapped nothing is dropped: the file's would come back. */
static struct run give(struct userfault *u, uint64_t page, unsigned int n)
{
	if (u->registered)
		return give_registered(u, page, n);
	if (u->mem->overlaid || madvise(mem_page_hva(u->mem, page), n * PAGE_SIZE, MADV_DONTNEED))
		return (struct run){WRITE, n};
	return (struct run){GIVEN, n};
}

static struct run forget_absent(struct userfault *u, uint64_t page, unsigned int most)
{
	struct userfault_claim c;
	int r;

	userfault_claim(u, &c, page, most, false);
	r = userfault_install(u, &c, c.count, NULL, false);
	userfault_unclaim(u, &c);
	return (struct run){r < 0 ? LOST : GIVEN, c.count};
}

/* Absent pages among so many that a mapping pays become present first: then it serves for all of them. */
static bool forget_between(struct userfault *u, uint64_t page, unsigned int most)
{
	if (most < RUN || !userfault_any_shown(u, page, most))
		return false;
	for (unsigned int n = 0; n < most; n++)
		if (userfault_source_of(u, page + n) && !userfault_guards_of(u, page + n) && !userfault_claimed(u, page + n, 1)) {
			forget_absent(u, page + n, most - n);
			return true;
		}
	return false;
}

/* Who holds the first page, or one of so many that a mapping pays, which would be too few on either side of it. */
static struct userfault_claim *in_the_way(const struct userfault *u, uint64_t page, unsigned int most)
{
	return userfault_claimed(u, page, most == RUN && userfault_any_shown(u, page, most) ? most : 1);
}

/* The claimer is held to the deadline, as if there was a fault. */
static struct run await(struct userfault *u, struct userfault_claim *c)
{
	if (!c->since_ns)
		c->since_ns = watchdog_now();
	pthread_cond_wait(&u->claim_ended, &u->lock);
	return (struct run){AGAIN, 0};
}

/* Under the lock: the first pages of these. */
static struct run begin(struct userfault *u, uint64_t page, unsigned int most)
{
	struct userfault_claim *claim = in_the_way(u, page, most);

	if (u->failing)
		return (struct run){LOST, most};
	if (claim)
		return await(u, claim);
	if (userfault_guards_of(u, page))
		return (struct run){TOUCH, 0};
	if (forget_between(u, page, most))
		return (struct run){AGAIN, 0};
	if (userfault_source_of(u, page))
		return forget_absent(u, page, most);
	if (is_pinned(u, page, 1))
		return (struct run){WRITE, 1};
	return give(u, page, free_run(u, page, most));
}

/*
 * As a guest writes. Who looks at the page meanwhile is right whatever he finds, which ThreadSanitizer cannot know. What is zero need not
 * be copied to be written.
 */
__attribute__((no_sanitize("thread"))) static void write_zeros(uint8_t *page)
{
	volatile uint64_t *words = __builtin_assume_aligned(page, PAGE_SIZE);

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		if (words[i])
			words[i] = 0;
}

/* Not under the lock: who touches RAM may have to wait for it. */
__attribute__((no_sanitize("thread"))) static void finish(struct userfault *u, uint64_t page, const struct run *run)
{
	volatile uint8_t *first = mem_page_hva(u->mem, page);

	if (run->doing == TOUCH)
		*first = 0;
	if (run->doing == GIVEN)
		mem_zeroed(u->mem, mem_page_gpa(u->mem, page), run->pages * PAGE_SIZE);
	for (unsigned int n = 0; run->doing == WRITE && n < run->pages; n++)
		write_zeros(mem_page_hva(u->mem, page + n));
}

uint64_t userfault_discard(struct userfault *u, uint64_t gpa, uint64_t size)
{
	uint64_t page, end, given = 0;
	struct run run = {AGAIN, 0};

	userfault_range(u, gpa, size, &page, &end);
	mem_dirtied(u->mem, gpa, size);
	for (; page < end && run.doing != LOST; page += run.pages) {
		pthread_mutex_lock(&u->lock);
		run = begin(u, page, end - page < RUN ? (unsigned int)(end - page) : RUN);
		pthread_mutex_unlock(&u->lock);
		finish(u, page, &run);
		given += run.doing == GIVEN ? run.pages : 0;
	}
	return given;
}
