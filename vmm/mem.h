/*
 * Guest RAM: anonymous private memory, at most two regions (below and above the device hole), behind one checked door.
 *
 * gpa is a number, never a pointer: whoever in the VMM wants guest memory asks mem_at(), which is safe against every
 * gpa and size a guest can name. The door also sees writes: asking for MEM_WRITE marks the pages dirty (dirty.h), before
 * the caller writes them. A pointer from the door is good until the guest runs again.
 */
#pragma once

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
	struct mem_listener *next;
};

struct mem {
	struct mem_region region[MEM_MAX_REGIONS]; /* ascending gpa */
	unsigned int region_count;
	uint64_t size; /* bytes of RAM in all */
	struct mem_listener *listeners;
};

enum mem_huge { MEM_HUGE_NEVER, MEM_HUGE_ADVISE };
enum mem_use { MEM_READ, MEM_WRITE };

/*
 * Reserves `size` bytes of RAM (a multiple of PAGE_SIZE, MEM_MIN_BYTES..MEM_MAX_BYTES), all zero, none of it touched. RAM
 * starts at gpa 0; what does not fit below ABI_HOLE_START goes on at ABI_HOLE_END. MEM_HUGE_ADVISE asks the host for
 * 2 MiB pages, MEM_HUGE_NEVER for none. Returns 0, -EINVAL for a bad size, or a logged -errno.
 */
int mem_create(struct mem *m, uint64_t size, enum mem_huge huge);
void mem_destroy(struct mem *m);

/*
 * The door: host address of guest bytes [gpa, gpa + size), or NULL unless all of them are RAM of one region. size may
 * be 0 only for NULL-checking callers: it gives NULL.
 */
void *mem_at(struct mem *m, uint64_t gpa, uint64_t size, enum mem_use use);

/* Copies between guest and VMM, across regions. Return 0, or -EFAULT (and nothing copied) where a byte is not RAM. */
int mem_read(struct mem *m, uint64_t gpa, void *to, uint64_t size);
int mem_write(struct mem *m, uint64_t gpa, const void *from, uint64_t size);

/* Says that pages were written or exchanged without the door: by pread() into RAM, or by a remap. */
void mem_dirtied(struct mem *m, uint64_t gpa, uint64_t size);
void mem_remapped(struct mem *m, uint64_t gpa, uint64_t size);

void mem_listen(struct mem *m, struct mem_listener *l);
void mem_unlisten(struct mem *m, struct mem_listener *l);
