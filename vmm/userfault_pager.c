#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

void userfault_range(const struct userfault *u, uint64_t gpa, uint64_t size, uint64_t *first, uint64_t *end)
{
	ensure(size && gpa % PAGE_SIZE == 0 && size % PAGE_SIZE == 0);
	*first = mem_page_number(u->mem, gpa);
	*end = *first + size / PAGE_SIZE;
	ensure(mem_page_room(u->mem, *first) >= size / PAGE_SIZE);
}

int userfault_source_add(struct userfault *u, struct pager *p)
{
	unsigned int i = 0;

	while (i < USERFAULT_PAGERS && u->source[i].pager && u->source[i].pager != p)
		i++;
	ensure(i < USERFAULT_PAGERS && p->ahead >= 1 && p->ahead <= USERFAULT_RUN);
	if (!u->source[i].absent)
		u->source[i].absent = calloc(userfault_words(u), sizeof(*u->source[i].absent));
	if (!u->source[i].absent)
		return log_errno(ENOMEM, "a bit for each page of guest RAM");
	/* Fetches read it without the lock, once there are pages. */
	if (!u->source[i].pager)
		u->source[i].pager = p;
	return (int)i;
}

/* Whether none of the pages is somebody's work, or another pager's. */
static bool are_free(struct userfault *u, const struct userfault_source *s, uint64_t first, uint64_t end)
{
	for (const struct userfault_source *other = u->source; other < u->source + USERFAULT_PAGERS; other++)
		for (uint64_t page = first; other != s && other->count && page < end; page++)
			if (userfault_test(other->absent, page))
				return false;
	return !userfault_claimed(u, first, end - first);
}

static int make_absent(struct userfault *u, struct pager *p, uint64_t first, uint64_t end)
{
	int i = userfault_source_add(u, p), r;

	if (i < 0)
		return i;
	if (!are_free(u, &u->source[i], first, end))
		return -EBUSY;
	r = userfault_drop(u, &u->source[i], first, end - first);
	return r < 0 ? log_errno(-r, "guest RAM: drop pages") : 0;
}

int userfault_absent(struct userfault *u, struct pager *p, uint64_t gpa, uint64_t size)
{
	uint64_t first, end;
	int r;

	userfault_range(u, gpa, size, &first, &end);
	if (mem_is_pinned(u->mem, gpa, size))
		return -EBUSY;
	r = userfault_open(u);
	if (r < 0)
		return r;
	pthread_mutex_lock(&u->lock);
	r = userfault_need(u);
	if (r == 0)
		r = make_absent(u, p, first, end);
	userfault_settle(u);
	pthread_mutex_unlock(&u->lock);
	return r;
}

static uint64_t count_absent(const struct userfault *u)
{
	uint64_t count = 0;

	for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
		count += u->source[i].count;
	return count;
}

uint64_t userfault_absent_count(struct userfault *u)
{
	uint64_t count;

	pthread_mutex_lock(&u->lock);
	count = count_absent(u);
	pthread_mutex_unlock(&u->lock);
	return count;
}

static uint64_t absent_from(const struct userfault *u, uint64_t page)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
		if (u->source[i].absent)
			bits |= u->source[i].absent[page / USERFAULT_WORD_BITS] >> page % USERFAULT_WORD_BITS;
	return bits;
}

/* Under the lock: the next absent page from `page` on that nobody is bringing; `end` if there is none. */
static uint64_t next_absent(const struct userfault *u, uint64_t page, uint64_t end)
{
	while (page < end) {
		uint64_t bits = absent_from(u, page);

		if (bits & 1 && !userfault_claimed(u, page, 1))
			return page;
		page += bits ? 1 : USERFAULT_WORD_BITS - page % USERFAULT_WORD_BITS;
	}
	return end;
}

int userfault_bring(struct userfault *u, uint64_t page, uint64_t max, void *buffer)
{
	struct userfault_claim c;
	const void *bytes = NULL;
	int n;

	userfault_claim(u, &c, page, max < USERFAULT_RUN ? max : USERFAULT_RUN, false);
	pthread_mutex_unlock(&u->lock);
	n = userfault_fetch(u, c.source, c.first, c.count, buffer, &bytes);
	pthread_mutex_lock(&u->lock);
	if (u->failing)
		n = -ECANCELED;
	else if (n < 0)
		/* Who waits for one of them asks the pager again, and RAM is lost only if that fails, too. */
		uffd_wake(u->fd, mem_page_hva(u->mem, page), c.count * PAGE_SIZE);
	else if (userfault_install(u, &c, (unsigned int)n, bytes, false) < 0)
		n = -ECANCELED;
	userfault_unclaim(u, &c);
	return n;
}

int64_t userfault_prefetch(struct userfault *u, uint64_t gpa, uint64_t size, void *buffer)
{
	uint64_t page, end;
	int64_t brought = 0;

	userfault_range(u, gpa, size, &page, &end);
	pthread_mutex_lock(&u->lock);
	while (count_absent(u) && (page = next_absent(u, page, end)) < end) {
		int n = u->failing ? -ECANCELED : userfault_bring(u, page, end - page, buffer);

		if (n < 0) {
			brought = n;
			break;
		}
		brought += n;
		u->stats.prefetched += (unsigned int)n;
		page += (unsigned int)n;
	}
	pthread_mutex_unlock(&u->lock);
	return brought;
}

/* Under the lock: how many pages from here on are not absent, of at most so many. */
static unsigned int present_run(struct userfault *u, uint64_t page, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && !userfault_source_of(u, page + n))
		n++;
	return n;
}

/* Under the lock, which is let go meanwhile. */
static int peek_absent(struct userfault *u, uint64_t page, unsigned int max, void *buffer, const void **bytes)
{
	struct userfault_claim c;
	int n;

	userfault_claim(u, &c, page, max < USERFAULT_RUN ? max : USERFAULT_RUN, false);
	pthread_mutex_unlock(&u->lock);
	n = userfault_fetch(u, c.source, c.first, c.count, buffer, bytes);
	pthread_mutex_lock(&u->lock);
	if (!u->failing)
		uffd_wake(u->fd, mem_page_hva(u->mem, page), c.count * PAGE_SIZE);
	userfault_unclaim(u, &c);
	return u->failing ? -ECANCELED : n;
}

int userfault_peek(struct userfault *u, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	uint64_t page = mem_page_number(u->mem, gpa);
	int n;

	ensure(pages && gpa % PAGE_SIZE == 0 && mem_page_room(u->mem, page) >= pages);
	*bytes = NULL;
	pthread_mutex_lock(&u->lock);
	while (!u->failing && userfault_source_of(u, page) && userfault_claimed(u, page, 1))
		pthread_cond_wait(&u->claim_ended, &u->lock);
	n = (int)present_run(u, page, pages);
	if (u->failing)
		n = -ECANCELED;
	else if (n)
		*bytes = mem_page_hva(u->mem, page);
	else
		n = peek_absent(u, page, pages, buffer, bytes);
	pthread_mutex_unlock(&u->lock);
	return n;
}
