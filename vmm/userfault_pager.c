#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

/* What a range of whole pages of RAM is in page numbers. */
static void to_pages(const struct userfault *u, uint64_t gpa, uint64_t size, uint64_t *first, uint64_t *end)
{
	ensure(size && gpa % PAGE_SIZE == 0 && size % PAGE_SIZE == 0);
	*first = mem_page_number(u->mem, gpa);
	*end = *first + size / PAGE_SIZE;
	ensure(mem_page_room(u->mem, *first) >= size / PAGE_SIZE);
}

static int drop(struct userfault *u, uint64_t first, uint64_t end)
{
	if (madvise(mem_page_hva(u->mem, first), (end - first) * PAGE_SIZE, MADV_DONTNEED))
		return log_errno(errno, "guest RAM: drop pages");
	for (uint64_t page = first; page < end; page++) {
		u->absent_count += !userfault_test(u->absent, page);
		u->absent[page / USERFAULT_WORD_BITS] |= 1ull << page % USERFAULT_WORD_BITS;
	}
	return 0;
}

static int set_pager(struct userfault *u, struct pager *p)
{
	ensure((!u->pager || u->pager == p) && p->ahead >= 1 && p->ahead <= USERFAULT_RUN);
	if (!u->pager)
		u->pager = p;
	if (!u->absent)
		u->absent = calloc(userfault_words(u), sizeof(*u->absent));
	return u->absent ? 0 : log_errno(ENOMEM, "a bit for each page of guest RAM");
}

int userfault_absent(struct userfault *u, struct pager *p, uint64_t gpa, uint64_t size)
{
	uint64_t first, end;
	int r;

	to_pages(u, gpa, size, &first, &end);
	if (mem_is_pinned(u->mem, gpa, size))
		return -EBUSY;
	r = userfault_need(u);
	if (r < 0)
		return r;
	pthread_mutex_lock(&u->lock);
	r = set_pager(u, p);
	if (r == 0)
		r = userfault_claimed(u, first, end - first) ? -EBUSY : drop(u, first, end);
	userfault_settle(u);
	pthread_mutex_unlock(&u->lock);
	return r;
}

uint64_t userfault_absent_count(struct userfault *u)
{
	uint64_t count;

	pthread_mutex_lock(&u->lock);
	count = u->absent_count;
	pthread_mutex_unlock(&u->lock);
	return count;
}

/* Under the lock: the next absent page from `page` on that nobody is bringing; `end` if there is none. */
static uint64_t next_absent(const struct userfault *u, uint64_t page, uint64_t end)
{
	while (page < end && (!userfault_test(u->absent, page) || userfault_claimed(u, page, 1)))
		page += u->absent[page / USERFAULT_WORD_BITS] >> page % USERFAULT_WORD_BITS ? 1 :
			USERFAULT_WORD_BITS - page % USERFAULT_WORD_BITS;
	return page < end ? page : end;
}

/* Under the lock, which is let go meanwhile: brings a run of absent pages. Returns how many, or -errno. */
static int bring(struct userfault *u, uint64_t page, uint64_t max, void *buffer)
{
	struct userfault_claim c;
	const void *bytes = NULL;
	int n;

	userfault_claim(u, &c, page, max < USERFAULT_RUN ? max : USERFAULT_RUN, false);
	pthread_mutex_unlock(&u->lock);
	n = userfault_fetch(u, c.first, c.count, buffer, &bytes);
	pthread_mutex_lock(&u->lock);
	if (u->failing)
		n = -ECANCELED;
	else if (n < 0)
		/* Who waits for one of them asks the pager again, and RAM is lost only if that fails, too. */
		uffd_wake(u->fd, mem_page_hva(u->mem, page), c.count * PAGE_SIZE);
	else if (userfault_install(u, &c, (unsigned int)n, bytes) < 0)
		n = -ECANCELED;
	else
		u->stats.prefetched += (unsigned int)n;
	userfault_unclaim(u, &c);
	return n;
}

int64_t userfault_prefetch(struct userfault *u, uint64_t gpa, uint64_t size, void *buffer)
{
	uint64_t page, end;
	int64_t brought = 0;

	to_pages(u, gpa, size, &page, &end);
	pthread_mutex_lock(&u->lock);
	while (u->absent_count && (page = next_absent(u, page, end)) < end) {
		int n = u->failing ? -ECANCELED : bring(u, page, end - page, buffer);

		if (n < 0) {
			brought = n;
			break;
		}
		brought += n;
		page += (unsigned int)n;
	}
	pthread_mutex_unlock(&u->lock);
	return brought;
}
