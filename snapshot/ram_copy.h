/*
 * A copy of a guest's RAM as it was at one instant. A few pages are copied while the guest stands still. Many are protected, and
 * copied behind the guest when it runs again: those that it wants to write just before it does (userfault.h), the others by whoever
 * finishes the copy. Where RAM is backed by a file that nobody changes (mem.h), what was not written is read from that, likewise.
 *
 * A page is either held, with its bytes, or it was zero. So RAM that nobody has touched costs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/userfault.h"

struct mem;
struct reason;
struct vm;

struct ram_range {
	uint64_t gpa, size; /* in one region of RAM */
	uint64_t at;	    /* of its bytes in `bytes` */
};

struct ram_copy {
	struct userfault_guard guard;
	struct userfault *behind; /* what protects pages until they are copied; NULL = none is protected */
	struct userfault *paged;  /* knows what absent pages hold; NULL = none is absent */
	int source; /* a file with the pages that are still to be copied: its offset is the gpa; -1 = none */
	struct mem *mem;
	uint8_t *bytes;
	uint64_t used, room;
	_Atomic uint64_t *held; /* one bit for each page in `bytes` */
	struct ram_range *range; /* ascending gpa */
	size_t ranges, range_room;
	uint64_t copied, protected; /* pages: while the guest stood still, or to be copied behind it */
};

/*
 * Most bytes that are copied while the guest stands still; more are protected, unless the host cannot. Protecting costs the guest more
 * than it saves in the pause: KVM drops its translations of what is protected, and counts pages as written when it makes them anew. In
 * a chain that would make the next part as large as RAM, and that one would be protected again.
 */
#define RAM_COPY_AT_ONCE (32ull << 20)
#define RAM_COPY_AT_ONCE_IN_CHAIN (256ull << 20)

/*
 * Any thread: makes room for all of RAM, of which about `expected` bytes will be copied at once; they are touched now, because that is
 * most of what a copy costs. Returns 0 or -ENOMEM, and nothing to be freed.
 */
int ram_copy_reserve(struct ram_copy *c, struct mem *m, uint64_t expected);

/*
 * Any thread: the copy is this file instead, of so many bytes, whose offset is the gpa: finished, and where the file has holes there is
 * nothing. The file may be closed, but not changed. Returns 0, or -errno and nothing to be freed.
 */
int ram_copy_of_file(struct ram_copy *c, int fd, uint64_t size);

/* Any thread; ends the protection of pages that are still to be copied. */
void ram_copy_free(struct ram_copy *c);

/* Adds a range behind all others. 0 or -ENOMEM. */
int ram_copy_add(struct ram_copy *c, uint64_t gpa, uint64_t size);

/*
 * The vCPU's thread: gets ready to protect pages, so that they are copied behind the guest. False: they cannot be, and are to be copied now.
 * Where other pages are mapped over RAM that is how it is; what else prevents it is said, a host's refusal once for a VM.
 */
bool ram_copy_behind(struct ram_copy *c, struct vm *vm);

/* Pages may be absent: they are copied from where they are, and stay absent. */
void ram_copy_of_paged(struct ram_copy *c, struct userfault *u);

/* The vCPU's thread, while the guest stands still: copies a part of a range now. 0; -EIO: a page of RAM is lost, or cannot be fetched; -ENOMEM. */
int ram_copy_part(struct ram_copy *c, uint64_t gpa, uint64_t size);

/* All that is not copied by then is as in this file, which must be there until ram_copy_finish(). */
void ram_copy_rest(struct ram_copy *c, int fd);

/*
 * The vCPU's thread, while the guest stands still and no page is pinned: copies all ranges, or protects them if pages can be, or leaves
 * them to ram_copy_finish() if the rest is in a file. Ranges to be protected may hold pages that are absent or that nobody has touched. Returns 0 or a -errno with the reason.
 */
int ram_copy_take(struct ram_copy *c, struct reason *why);

/*
 * Any thread but the vCPU's and those that serve its RAM: copies what is still to be copied; afterwards the VM is not needed any
 * more. Returns 0 or a -errno with the reason.
 */
int ram_copy_finish(struct ram_copy *c, struct reason *why);

/* Of a finished copy: whether the page at `at` is held. */
static inline bool ram_copy_holds(const struct ram_copy *c, uint64_t at)
{
	uint64_t page = at / PAGE_SIZE;

	return c->held[page / 64] >> page % 64 & 1;
}
