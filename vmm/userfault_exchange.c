#include "vmm/userfault_exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/ensure.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

static uint8_t *hva_of(const struct userfault *u, const struct userfault_hold *h, unsigned int n)
{
	return mem_page_hva(u->mem, h->claim.first + n);
}

uint64_t userfault_absent_bits(struct userfault *u, uint64_t gpa, unsigned int pages)
{
	uint64_t page = mem_page_number(u->mem, gpa), absent = 0;

	pthread_mutex_lock(&u->lock);
	for (unsigned int n = 0; n < pages; n++)
		absent |= (uint64_t)(userfault_source_of(u, page + n) != NULL) << n;
	pthread_mutex_unlock(&u->lock);
	return absent;
}

bool userfault_is_absent(struct userfault *u, uint64_t gpa)
{
	return userfault_absent_bits(u, gpa, 1);
}

static bool any_shown(struct userfault *u, uint64_t first, unsigned int n)
{
	bool shown;

	pthread_mutex_lock(&u->lock);
	shown = userfault_any_shown(u, first, n);
	pthread_mutex_unlock(&u->lock);
	return shown;
}

bool userfault_is_shown(struct userfault *u, uint64_t gpa)
{
	return any_shown(u, mem_page_number(u->mem, gpa), 1);
}

static bool may_hold(struct userfault *u, const struct userfault_hold *h, uint64_t first)
{
	for (uint64_t page = first; page < first + h->pages; page++)
		if (userfault_source_of(u, page) || userfault_guards_of(u, page))
			return false;
	return !userfault_claimed(u, first, h->pages) && !mem_is_pinned(u->mem, h->gpa, h->pages * PAGE_SIZE);
}

/*
 * Who pins a page and then has it written by a system call either has pinned it before it was protected here, and is found; or the
 * system call comes to a page that is protected.
 */
static int hold(struct userfault *u, struct userfault_hold *h, uint64_t first)
{
	int r;

	if (!may_hold(u, h, first))
		return -EBUSY;
	userfault_claim(u, &h->claim, first, h->pages, false);
	ensure(h->claim.count == h->pages);
	r = uffd_protect(u->fd, hva_of(u, h, 0), h->pages * PAGE_SIZE, true);
	if (r < 0)
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 " cannot be protected: %s", h->gpa, strerrordesc_np(-r));
	else if (!mem_is_pinned(u->mem, h->gpa, h->pages * PAGE_SIZE))
		return 0;
	userfault_let_write(u, &h->claim);
	userfault_unclaim(u, &h->claim);
	return r < 0 ? -ECANCELED : -EBUSY;
}

int userfault_hold(struct userfault *u, struct userfault_hold *h, uint64_t gpa, unsigned int pages)
{
	uint64_t first, end;
	int r;

	ensure(pages <= USERFAULT_RUN);
	userfault_range(u, gpa, pages * PAGE_SIZE, &first, &end);
	*h = (struct userfault_hold){.gpa = gpa, .pages = pages};
	pthread_mutex_lock(&u->lock);
	ensure(u->exchanging);
	r = u->failing ? -ECANCELED : hold(u, h, first);
	pthread_mutex_unlock(&u->lock);
	return r;
}

static bool is_exchanged(const struct userfault_hold *h, unsigned int n)
{
	return h->exchanged >> n & 1;
}

/* What is not protected any more need not be opened, which would cost the guest its translations. */
static void let_write(struct userfault *u, const struct userfault_hold *h)
{
	for (unsigned int n = 0, part; n < h->pages; n += part) {
		struct userfault_claim c = {.first = h->claim.first + n};

		for (part = 1; n + part < h->pages && is_exchanged(h, n + part) == is_exchanged(h, n);)
			part++;
		c.count = part;
		if (is_exchanged(h, n))
			uffd_wake(u->fd, hva_of(u, h, n), part * PAGE_SIZE);
		else
			userfault_let_write(u, &c);
	}
}

/* Under the lock. */
static int exchanged(struct userfault_hold *h, unsigned int first, unsigned int n, int r)
{
	if (r == 0)
		h->exchanged |= ~0ull >> (64 - n) << first;
	return r;
}

void userfault_let_go(struct userfault *u, struct userfault_hold *h)
{
	pthread_mutex_lock(&u->lock);
	let_write(u, h);
	userfault_unclaim(u, &h->claim);
	pthread_mutex_unlock(&u->lock);
}

/*
 * Under the lock. A guard that has come since the pages were held may rely on their being protected, which an exchange ends, or
 * interrupts.
 */
static int may_exchange(struct userfault *u, const struct userfault_hold *h, unsigned int first, unsigned int n)
{
	ensure(n && first + n <= h->pages);
	if (u->failing)
		return -ECANCELED;
	for (unsigned int i = first; i < first + n; i++) {
		ensure(!userfault_source_of(u, h->claim.first + i));
		if (userfault_guards_of(u, h->claim.first + i))
			return -EBUSY;
	}
	return 0;
}

static int show_zero(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n)
{
	int r = userfault_empty(u, h->claim.first + first, n);

	if (r < 0)
		return r;
	r = uffd_zero(u->fd, hva_of(u, h, first), n * PAGE_SIZE);
	if (r < 0)
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 " cannot be zero: %s",
			       mem_page_gpa(u->mem, h->claim.first + first), strerrordesc_np(-r));
	return r;
}

int userfault_show_zero(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n)
{
	int r;

	pthread_mutex_lock(&u->lock);
	r = may_exchange(u, h, first, n);
	if (r == 0)
		r = exchanged(h, first, n, show_zero(u, h, first, n));
	pthread_mutex_unlock(&u->lock);
	return r;
}

int userfault_show(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n, int fd, uint64_t at)
{
	int r;

	pthread_mutex_lock(&u->lock);
	r = may_exchange(u, h, first, n);
	if (r == 0)
		r = exchanged(h, first, n, userfault_map(u, h->claim.first + first, n, fd, at));
	pthread_mutex_unlock(&u->lock);
	return r;
}

static int evict(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n)
{
	int r;

	pthread_mutex_lock(&u->lock);
	r = may_exchange(u, h, first, n);
	if (r == 0)
		r = exchanged(h, first, n, userfault_drop(u, &u->source[u->brings], h->claim.first + first, n));
	pthread_mutex_unlock(&u->lock);
	return r;
}

static int move_in(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n, void *copy)
{
	int r;

	pthread_mutex_lock(&u->lock);
	r = may_exchange(u, h, first, n);
	if (r == 0)
		r = userfault_move_in(u, h->claim.first + first, n, copy);
	else
		munmap(copy, n * PAGE_SIZE);
	pthread_mutex_unlock(&u->lock);
	return r;
}

/*
 * Fresh memory in place of a file's pages would be zero for who touches it before it is registered. So they become copies first, the
 * guest's own, which look the same all the time; whether somebody has written one before it was protected is seen by another copy.
 */
static int unshow(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n)
{
	uint64_t size = n * PAGE_SIZE;
	uint8_t *copy = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int r;

	if (copy == MAP_FAILED)
		return -ENOMEM;
	memcpy(copy, hva_of(u, h, first), size);
	memcpy(copy + size, copy, size);
	r = move_in(u, h, first, n, copy);
	if (r == 0 && memcmp(hva_of(u, h, first), copy + size, size) != 0)
		r = -EBUSY;
	munmap(copy + size, size);
	return r;
}

int userfault_evict(struct userfault *u, struct userfault_hold *h, unsigned int first, unsigned int n)
{
	int r = 0;

	if (any_shown(u, h->claim.first + first, n))
		r = unshow(u, h, first, n);
	return r < 0 ? r : evict(u, h, first, n);
}
