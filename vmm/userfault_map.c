/*
 * What is mapped where guest RAM is. A mapping that is exchanged is out of the userfaultfd until it has been registered again: what
 * is done in between goes unseen, so it is done only where that does not matter, with the lock held, and never after RAM is lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/ensure.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

#define PROT (PROT_READ | PROT_WRITE)
#define FLAGS (MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE)

static int fail(struct userfault *u, uint64_t page, const char *what, int error)
{
	userfault_fail(u, "guest RAM: page 0x%" PRIx64 ": %s: %s", mem_page_gpa(u->mem, page), what, strerrordesc_np(error));
	return -error;
}

/* The host has refused a mapping. It says so before it takes the old one away, but for a host without any memory left. */
static int refused(struct userfault *u, uint64_t first, uint64_t count, int error)
{
	unsigned char there[USERFAULT_RUN];
	bool all = true;

	for (uint64_t n = 0, part; n < count && all; n += part) {
		part = count - n < USERFAULT_RUN ? count - n : USERFAULT_RUN;
		all = mincore(mem_page_hva(u->mem, first + n), part * PAGE_SIZE, there) == 0;
	}
	return error == ENOMEM && all ? -ENOMEM : fail(u, first, "nothing can be mapped there", error);
}

static void note(struct userfault *u, uint64_t first, uint64_t count, bool shown)
{
	for (uint64_t page = first; page < first + count; page++) {
		if (shown)
			userfault_set(u->shown, page);
		else
			userfault_take(u->shown, page);
	}
}

static int register_again(struct userfault *u, uint64_t first, uint64_t count)
{
	int r = uffd_register(u->fd, mem_page_hva(u->mem, first), count * PAGE_SIZE);

	return r < 0 ? fail(u, first, "it cannot be registered again", -r) : 0;
}

int userfault_map(struct userfault *u, uint64_t first, uint64_t count, int fd, uint64_t at)
{
	uint8_t *hva = mem_page_hva(u->mem, first);
	uint64_t size = count * PAGE_SIZE;

	ensure(u->registered && u->shown);
	if (mmap(hva, size, PROT, fd < 0 ? FLAGS | MAP_ANONYMOUS : FLAGS, fd, (off_t)at) == MAP_FAILED)
		return refused(u, first, count, errno);
	note(u, first, count, fd >= 0);
	/* Only so that the guest's first look is cheap; what is registered the kernel maps page by page, which takes four times as long. */
	if (fd >= 0)
		madvise(hva, size, MADV_POPULATE_READ);
	else
		mem_advise(u->mem, hva, size);
	return register_again(u, first, count);
}

int userfault_move_in(struct userfault *u, uint64_t first, uint64_t count, void *from)
{
	uint8_t *hva = mem_page_hva(u->mem, first);
	uint64_t size = count * PAGE_SIZE;
	int r;

	ensure(u->registered && u->shown);
	mem_advise(u->mem, from, size);
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, hva) == MAP_FAILED) {
		r = errno;
		munmap(from, size);
		return refused(u, first, count, r);
	}
	note(u, first, count, false);
	r = register_again(u, first, count);
	if (r == 0)
		r = uffd_protect(u->fd, hva, size, true);
	return r < 0 && !u->failing ? fail(u, first, "it cannot be protected", -r) : r;
}

bool userfault_any_shown(const struct userfault *u, uint64_t first, uint64_t count)
{
	for (uint64_t page = first; u->shown && page < first + count; page++)
		if (userfault_test(u->shown, page))
			return true;
	return false;
}

int userfault_empty(struct userfault *u, uint64_t first, uint64_t count)
{
	if (userfault_any_shown(u, first, count))
		return userfault_map(u, first, count, -1, 0);
	if (madvise(mem_page_hva(u->mem, first), count * PAGE_SIZE, MADV_DONTNEED))
		return fail(u, first, "it cannot be dropped", errno);
	return 0;
}

int userfault_drop(struct userfault *u, struct userfault_source *s, uint64_t first, uint64_t count)
{
	int r = userfault_empty(u, first, count);

	for (uint64_t page = first; r == 0 && page < first + count; page++) {
		s->count += !userfault_test(s->absent, page);
		userfault_set(s->absent, page);
	}
	return r;
}
