#include "dedup/reserve.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "vmm/log.h"
#include "vmm/mem.h"

#define STEP (1ull << 20) /* a call of mprotect() is worth so much */

int reserve_init(struct reserve *r, uint64_t size)
{
	void *base;

	size = size ? (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1) : PAGE_SIZE;
	base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return log_errno(errno, "reserve %" PRIu64 " MiB of addresses", size >> 20);
	/* A huge page would be more than what is asked for. Only advice: a kernel without them refuses it. */
	madvise(base, size, MADV_NOHUGEPAGE);
	*r = (struct reserve){.base = base, .size = size};
	return 0;
}

void reserve_destroy(struct reserve *r)
{
	if (r->base)
		munmap(r->base, r->size);
	*r = (struct reserve){0};
}

bool reserve_use(struct reserve *r, uint64_t end)
{
	uint64_t usable = (end + STEP - 1) & ~(STEP - 1);

	if (end <= r->usable)
		return true;
	if (end > r->size)
		return false;
	usable = usable < r->size ? usable : r->size;
	if (mprotect(r->base + r->usable, usable - r->usable, PROT_READ | PROT_WRITE))
		return false;
	r->usable = usable;
	return true;
}

void reserve_give_back(struct reserve *r, uint64_t at, uint64_t bytes)
{
	/* Locked memory (mlockall) stays; it is used again when there is need. */
	madvise(r->base + at, bytes, MADV_DONTNEED);
}
