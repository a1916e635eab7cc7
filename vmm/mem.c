#include "vmm/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/abi.h"
#include "vmm/ensure.h"
#include "vmm/log.h"

#define HUGE_PAGE_SIZE (2ull << 20)

/* Cuts the reservation [raw, raw + size + HUGE_PAGE_SIZE) to size bytes from a 2 MiB border. */
static uint8_t *trim(uint8_t *raw, uint64_t size)
{
	uint64_t before = -(uintptr_t)raw % HUGE_PAGE_SIZE;
	uint64_t behind = HUGE_PAGE_SIZE - before;

	if (before)
		munmap(raw, before);
	munmap(raw + before + size, behind);
	return raw + before;
}

static int region_map(struct mem_region *r, uint64_t gpa, uint64_t size, enum mem_huge huge)
{
	void *raw = mmap(NULL, size + HUGE_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (raw == MAP_FAILED)
		return log_errno(errno, "reserve %" PRIu64 " MiB of guest RAM", size >> 20);
	*r = (struct mem_region){ .gpa = gpa, .size = size, .hva = trim(raw, size) };
	/* Only advice: a kernel without huge pages refuses it, and RAM works all the same. */
	madvise(r->hva, size, huge == MEM_HUGE_ADVISE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

int mem_create(struct mem *m, uint64_t size, enum mem_huge huge)
{
	uint64_t low = size < ABI_HOLE_START ? size : ABI_HOLE_START;
	int err;

	*m = (struct mem){ 0 };
	if (size < MEM_MIN_BYTES || size > MEM_MAX_BYTES || size % PAGE_SIZE)
		return -EINVAL;
	err = region_map(&m->region[0], 0, low, huge);
	if (err)
		return err;
	m->region_count = 1;
	if (size > low) {
		err = region_map(&m->region[1], ABI_HOLE_END, size - low, huge);
		if (err)
			goto unmap;
		m->region_count = 2;
	}
	m->size = size;
	return 0;
unmap:
	mem_destroy(m);
	return err;
}

void mem_destroy(struct mem *m)
{
	for (unsigned int i = 0; i < m->region_count; i++)
		munmap(m->region[i].hva, m->region[i].size);
	*m = (struct mem){ 0 };
}

static const struct mem_region *region_of(const struct mem *m, uint64_t gpa)
{
	for (unsigned int i = 0; i < m->region_count; i++) {
		const struct mem_region *r = &m->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return r;
	}
	return NULL;
}

/* How many bytes of [gpa, gpa + size), from gpa on, are RAM of one region; *hva is the first's. */
static uint64_t span(const struct mem *m, uint64_t gpa, uint64_t size, uint8_t **hva)
{
	const struct mem_region *r = region_of(m, gpa);
	uint64_t left;

	if (!r)
		return 0;
	*hva = r->hva + (gpa - r->gpa);
	left = r->size - (gpa - r->gpa);
	return size < left ? size : left;
}

void *mem_at(struct mem *m, uint64_t gpa, uint64_t size, enum mem_use use)
{
	uint8_t *hva;

	if (!size || span(m, gpa, size, &hva) < size)
		return NULL;
	if (use == MEM_WRITE)
		mem_dirtied(m, gpa, size);
	return hva;
}

static bool is_ram(const struct mem *m, uint64_t gpa, uint64_t size)
{
	while (size) {
		uint8_t *hva;
		uint64_t part = span(m, gpa, size, &hva);

		if (!part)
			return false;
		/* Cannot wrap: RAM ends far below 2^64. */
		gpa += part;
		size -= part;
	}
	return true;
}

int mem_read(struct mem *m, uint64_t gpa, void *to, uint64_t size)
{
	uint8_t *out = to, *hva;

	if (!is_ram(m, gpa, size))
		return -EFAULT;
	for (uint64_t part; size; gpa += part, out += part, size -= part) {
		part = span(m, gpa, size, &hva);
		memcpy(out, hva, part);
	}
	return 0;
}

int mem_write(struct mem *m, uint64_t gpa, const void *from, uint64_t size)
{
	const uint8_t *in = from;
	uint8_t *hva;

	if (!is_ram(m, gpa, size))
		return -EFAULT;
	for (uint64_t part; size; gpa += part, in += part, size -= part) {
		part = span(m, gpa, size, &hva);
		mem_dirtied(m, gpa, part);
		memcpy(hva, in, part);
	}
	return 0;
}

/* Widens a range, which must be RAM of one region, to the whole pages that it touches. */
static void widen(const struct mem *m, uint64_t *gpa, uint64_t *size)
{
	uint64_t first = *gpa & ~(PAGE_SIZE - 1);
	uint8_t *hva;

	ensure(*size && span(m, *gpa, *size, &hva) == *size);
	*size = ((*gpa + *size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)) - first;
	*gpa = first;
}

void mem_dirtied(struct mem *m, uint64_t gpa, uint64_t size)
{
	widen(m, &gpa, &size);
	for (struct mem_listener *l = m->listeners, *next; l; l = next) {
		next = l->next;
		if (l->dirtied)
			l->dirtied(l, gpa, size);
	}
}

void mem_remapped(struct mem *m, uint64_t gpa, uint64_t size)
{
	widen(m, &gpa, &size);
	for (struct mem_listener *l = m->listeners, *next; l; l = next) {
		next = l->next;
		if (l->remapped)
			l->remapped(l, gpa, size);
	}
}

void mem_listen(struct mem *m, struct mem_listener *l)
{
	l->next = m->listeners;
	m->listeners = l;
}

void mem_unlisten(struct mem *m, struct mem_listener *l)
{
	for (struct mem_listener **at = &m->listeners; *at; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			return;
		}
	}
}
