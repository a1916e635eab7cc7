/*
 * Guest RAM: anonymous private memory, at most two regions (below and above the device hole), behind one checked door.
 *
 * gpa is a number, never a pointer: whoever in the VMM wants guest memory asks mem_at(), which is safe against every
 * gpa and size a guest can name. The door also sees writes: asking for MEM_WRITE marks the pages dirty (dirty.h), before
 * the caller writes them. A pointer from the door is good until the guest runs again.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE (1ull << PAGE_SHIFT)
#define MEM_MAX_REGIONS 2u
#define MEM_MIN_BYTES (1ull << 20)
#define MEM_MAX_BYTES (1ull << 39) /* with room above it in the 40 address bits of the CPU model */

struct mem_region {
	uint64_t gpa, size; /* bytes, page-aligned */
	uint8_t *hva;
};

/* Told about whole guest pages [gpa, gpa + size) of one region. Not owned; stays registered until removed. */
struct mem_listener {
	void (*dirtied)(struct mem_listener *l, uint64_t gpa, uint64_t size); /* written through the door; may be NULL */
	void (*remapped)(struct mem_listener *l, uint64_t gpa, uint64_t size); /* other host pages; may be NULL */
	void (*zeroed)(struct mem_listener *l, uint64_t gpa, uint64_t size); /* nothing of the guest's own is there now; may be NULL */
	struct mem_listener *next;
};

enum mem_use { MEM_READ, MEM_WRITE };

/*
 * Guest bytes that a device reads or writes outside the guest's own time: while one of these is held, the pages under it stay
 * where they are (no share, no eviction, no remap). The holder keeps it in place from mem_pin() to mem_unpin().
 */
struct mem_pin {
	uint64_t gpa, size;
	enum mem_use use;
	struct mem_pin *next, **link; /* link: what points here; NULL = not held */
};

enum mem_huge { MEM_HUGE_NEVER, MEM_HUGE_ADVISE };

struct mem {
	struct mem_region region[MEM_MAX_REGIONS]; /* ascending gpa */
	unsigned int region_count;
	uint64_t size; /* bytes of RAM in all */
	enum mem_huge huge;
	struct mem_listener *listeners;
	pthread_mutex_t pins_lock; /* of the list of pins */
	struct mem_pin *pins;
	bool overlaid;	    /* other host pages are mapped over some of it (mem_remapped()) */
	bool backed;	    /* over all of it, and by `backing` alone (mem_backed()) */
	int backing;	    /* a file that nobody changes: its offset is the gpa, and pages that were not written are as in it */
	_Atomic bool paged; /* pages may be absent or protected (userfault.h) */
	_Atomic bool lost;  /* what a page held could not be brought: from now on it is zero */
};

/*
 * Reserves `size` bytes of RAM (a multiple of PAGE_SIZE, MEM_MIN_BYTES..MEM_MAX_BYTES), all zero, none of it touched. RAM
 * starts at gpa 0; what does not fit below ABI_HOLE_START goes on at ABI_HOLE_END. MEM_HUGE_ADVISE asks the host for
 * 2 MiB pages, MEM_HUGE_NEVER for none. Returns 0, -EINVAL for a bad size, or a logged -errno.
 */
int mem_create(struct mem *m, uint64_t size, enum mem_huge huge);
void mem_destroy(struct mem *m);

/* Gives memory that is to become RAM the host's advice that RAM has. */
void mem_advise(const struct mem *m, void *hva, uint64_t size);

/*
 * The door: host address of guest bytes [gpa, gpa + size), or NULL unless all of them are RAM of one region. size may
 * be 0 only for NULL-checking callers: it gives NULL.
 */
void *mem_at(struct mem *m, uint64_t gpa, uint64_t size, enum mem_use use);

/*
 * Pages by number: those of the regions one after the other, without the hole between. mem_page_at() is for a host address in
 * RAM, mem_page_room() says how many pages there are from this one to the end of its region. No RAM there is our bug.
 */
uint64_t mem_page_number(const struct mem *m, uint64_t gpa);
uint64_t mem_page_at(const struct mem *m, const void *hva);
uint64_t mem_page_gpa(const struct mem *m, uint64_t page);
uint8_t *mem_page_hva(const struct mem *m, uint64_t page);
uint64_t mem_page_room(const struct mem *m, uint64_t page);

/* Any thread: whether RAM has lost a page. What was read before this was false is what the guest had there. */
static inline bool mem_is_lost(const struct mem *m)
{
	return atomic_load(&m->lost);
}

/*
 * Any thread: makes bytes from the door present, so that a system call which reads them finds what the guest had there. False: RAM
 * is lost, and what is there must not leave the VM.
 */
bool mem_bring_in(const struct mem *m, const void *hva, uint64_t size);

/* Does any RAM lie at host addresses [start, end)? */
bool mem_overlaps(const struct mem *m, uint64_t start, uint64_t end);

/* Copies between guest and VMM, across regions. Return 0, or -EFAULT (and nothing copied) where a byte is not RAM. */
int mem_read(struct mem *m, uint64_t gpa, void *to, uint64_t size);
int mem_write(struct mem *m, uint64_t gpa, const void *from, uint64_t size);

/* Says that pages were written or exchanged without the door: by pread() into RAM, or by a remap. */
void mem_dirtied(struct mem *m, uint64_t gpa, uint64_t size);
void mem_remapped(struct mem *m, uint64_t gpa, uint64_t size);

/* Says that whole pages have become zero because the guest has no use for them (userfault_discard.h), after mem_dirtied(). */
void mem_zeroed(struct mem *m, uint64_t gpa, uint64_t size);

/* Says that this file, which outlives RAM, was mapped privately over all of it, after mem_remapped() has said where. */
void mem_backed(struct mem *m, int fd);

/*
 * The door for a device: as mem_at(), and the pages are pinned until mem_unpin(), which marks what was written (MEM_WRITE)
 * dirty once more: it may have been written after the first mark was taken. NULL: nothing is pinned. Pages that were absent
 * are brought in before it returns; who has a system call read them asks mem_is_lost() first.
 *
 * Another thread may be exchanging one of the pages (userfault_exchange.h) that found no pin when it looked, after it had protected
 * the page. Then reads find the bytes that are there before as well as after, and whoever writes, the kernel too, waits for the
 * exchange to end. So a pin keeps others from beginning, and need not wait for who has begun.
 */
void *mem_pin(struct mem *m, struct mem_pin *p, uint64_t gpa, uint64_t size, enum mem_use use);
void mem_unpin(struct mem *m, struct mem_pin *p);

/* Any thread: whether a byte of a page that [gpa, gpa + size) touches is under a pin. */
bool mem_is_pinned(struct mem *m, uint64_t gpa, uint64_t size);

void mem_listen(struct mem *m, struct mem_listener *l);
void mem_unlisten(struct mem *m, struct mem_listener *l);
