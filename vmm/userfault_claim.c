#include "vmm/userfault_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"

#define PAGEMAP_HELD (3ull << 62) /* present, or swapped out: Linux, Documentation/admin-guide/mm/pagemap.rst */

static const uint8_t zero_page[PAGE_SIZE];

static uint8_t *hva_of(const struct userfault *u, uint64_t page)
{
	return mem_page_hva(u->mem, page);
}

uint64_t userfault_words(const struct userfault *u)
{
	return u->mem->size / PAGE_SIZE / USERFAULT_WORD_BITS + 1;
}

struct userfault_source *userfault_source_of(struct userfault *u, uint64_t page)
{
	for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
		if (userfault_test(u->source[i].absent, page))
			return &u->source[i];
	return NULL;
}

unsigned int userfault_guards_of(const struct userfault *u, uint64_t page)
{
	unsigned int set = 0;

	for (unsigned int i = 0; i < USERFAULT_GUARDS; i++)
		if (u->guard[i] && userfault_test(u->guard[i]->pages, page))
			set |= 1u << i;
	return set;
}

struct userfault_claim *userfault_claimed(const struct userfault *u, uint64_t first, uint64_t count)
{
	for (struct userfault_claim *c = u->claims; c; c = c->next)
		if (first < c->first + c->count && c->first < first + count)
			return c;
	return NULL;
}

static bool is_alike(struct userfault *u, const struct userfault_claim *c, unsigned int guards, uint64_t page)
{
	return userfault_source_of(u, page) == c->source && userfault_guards_of(u, page) == guards &&
	       !userfault_claimed(u, page, 1);
}

void userfault_claim(struct userfault *u, struct userfault_claim *c, uint64_t page, uint64_t max, bool saving)
{
	unsigned int guards = userfault_guards_of(u, page);
	uint64_t room = mem_page_room(u->mem, page);

	*c = (struct userfault_claim){.first = page, .count = 1, .source = userfault_source_of(u, page)};
	max = max < room ? max : room;
	while (c->count < max && is_alike(u, c, guards, page + c->count))
		c->count++;
	if (saving) {
		c->guards = guards;
		for (unsigned int i = 0; i < USERFAULT_GUARDS; i++)
			for (uint64_t n = 0; guards >> i & 1 && n < c->count; n++)
				u->guard[i]->left -= userfault_take(u->guard[i]->pages, page + n);
	}
	c->next = u->claims;
	u->claims = c;
}

void userfault_unclaim(struct userfault *u, struct userfault_claim *c)
{
	struct userfault_claim **at = &u->claims;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	pthread_cond_broadcast(&u->claim_ended);
	userfault_settle(u);
}

void userfault_tell_guards(struct userfault *u, const struct userfault_claim *c, uint64_t page, const void *bytes,
			   unsigned int pages)
{
	uint64_t gpa = mem_page_gpa(u->mem, page);

	for (unsigned int i = 0; i < USERFAULT_GUARDS; i++)
		if (c->guards >> i & 1)
			u->guard[i]->save(u->guard[i], gpa, bytes, pages);
}

/* How many pages from n on, of `end`, agree about whether a guard wants them (*wanted). */
static unsigned int same_wanted(const struct userfault *u, const struct userfault_claim *c, unsigned int n, unsigned int end,
				bool *wanted)
{
	unsigned int from = n;

	*wanted = userfault_guards_of(u, c->first + n);
	while (n < end && !!userfault_guards_of(u, c->first + n) == *wanted)
		n++;
	return n - from;
}

void userfault_let_write(struct userfault *u, const struct userfault_claim *c)
{
	bool wanted;

	for (unsigned int n = 0, part; n < c->count && !u->failing; n += part) {
		uint8_t *hva = hva_of(u, c->first + n);
		int r = 0;

		part = same_wanted(u, c, n, c->count, &wanted);
		if (wanted)
			uffd_wake(u->fd, hva, part * PAGE_SIZE);
		else
			r = uffd_protect(u->fd, hva, part * PAGE_SIZE, false);
		if (r < 0)
			userfault_fail(u, "guest RAM: page 0x%" PRIx64 " cannot be made writable: %s",
				       mem_page_gpa(u->mem, c->first + n), strerrordesc_np(-r));
	}
}

/*
 * Bytes in the pager's own memory may be a file's that is not read yet, or has become shorter. That is found out here and not by
 * the ioctl, which runs under the lock.
 */
static int populate(const void *bytes, uint64_t size)
{
	uintptr_t start = (uintptr_t)bytes & ~(PAGE_SIZE - 1);
	uintptr_t end = ((uintptr_t)bytes + size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);

	/* A kernel before 5.14 does not know it, and leaves it to the ioctl. */
	return madvise((void *)start, end - start, MADV_POPULATE_READ) && errno != EINVAL ? -errno : 0;
}

int userfault_fetch(struct userfault *u, const struct userfault_source *s, uint64_t page, unsigned int count, void *buffer,
		    const void **bytes)
{
	uint64_t gpa = mem_page_gpa(u->mem, page);
	int n = s->pager->fetch(s->pager, gpa, count, buffer, bytes), r = 0;

	if (n < 0)
		return n;
	ensure(n > 0 && (unsigned int)n <= count);
	if (*bytes && *bytes != buffer)
		r = populate(*bytes, (uint64_t)n * PAGE_SIZE);
	if (r < 0)
		return log_errno(-r, "%s: page 0x%" PRIx64, s->pager->name, gpa);
	return n;
}

int userfault_zero(struct userfault *u, uint64_t page, unsigned int pages, bool protect)
{
	uint8_t *hva = hva_of(u, page);
	int r = 0;

	if (!protect)
		return uffd_zero(u->fd, hva, pages * PAGE_SIZE);
	for (unsigned int n = 0; n < pages && r == 0; n++)
		r = uffd_copy(u->fd, hva + n * PAGE_SIZE, zero_page, PAGE_SIZE, true);
	return r;
}

/* The pages are not its pager's any more. */
static void leave_source(struct userfault *u, const struct userfault_claim *c, unsigned int n, bool fault)
{
	struct pager *p = c->source->pager;

	for (unsigned int i = 0; i < n; i++)
		c->source->count -= userfault_take(c->source->absent, c->first + i);
	if (p->brought)
		p->brought(p, mem_page_gpa(u->mem, c->first), n, fault);
}

int userfault_install(struct userfault *u, struct userfault_claim *c, unsigned int n, const void *bytes, bool fault)
{
	bool wanted;
	int r = 0;

	for (unsigned int at = 0, part; at < n && r == 0; at += part) {
		uint8_t *hva = hva_of(u, c->first + at);

		part = same_wanted(u, c, at, n, &wanted);
		if (bytes)
			r = uffd_copy(u->fd, hva, (const uint8_t *)bytes + at * PAGE_SIZE, part * PAGE_SIZE, wanted);
		else
			r = userfault_zero(u, c->first + at, part, wanted);
	}
	if (r < 0) {
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 " cannot be brought in: %s", mem_page_gpa(u->mem, c->first),
			       strerrordesc_np(-r));
		return r;
	}
	/* Who waited goes on from here. */
	c->until_ns = watchdog_now();
	if (c->source)
		leave_source(u, c, n, fault);
	if (n < c->count)
		uffd_wake(u->fd, hva_of(u, c->first + n), (c->count - n) * PAGE_SIZE);
	return 0;
}

int userfault_open_pagemap(struct userfault *u)
{
	if (u->pagemap_fd < 0)
		u->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return u->pagemap_fd < 0 ? log_errno(errno, "/proc/self/pagemap") : 0;
}

int userfault_touched(const struct userfault *u, uint64_t page, unsigned int pages, bool *touched)
{
	uint64_t entry[USERFAULT_RUN], want = pages * sizeof(*entry);
	ssize_t n = pread(u->pagemap_fd, entry, want, (off_t)((uintptr_t)hva_of(u, page) / PAGE_SIZE * sizeof(*entry)));

	if (n != (ssize_t)want)
		return n < 0 ? -errno : -EIO;
	for (unsigned int i = 0; i < pages; i++)
		touched[i] = entry[i] & PAGEMAP_HELD || userfault_test(u->shown, page + i);
	return 0;
}
