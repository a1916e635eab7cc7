#include "vmm/remap.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/disk.h"
#include "vmm/mem.h"
#include "vmm/virtqueue.h"

#define BITS 64u

void remap_init(struct remap *r, struct mem *m, const struct disk *d)
{
	*r = (struct remap){.mem = m, .disk = d};
}

void remap_destroy(struct remap *r)
{
	free(r->pages);
	r->pages = NULL;
}

static bool is_whole(uint64_t number)
{
	return number % PAGE_SIZE == 0;
}

/* The buffers that hold the data, without the status behind them; false where one is not of whole pages. */
static bool all_whole(const struct remap *r, const struct virtqueue_chain *c, uint64_t bytes)
{
	for (unsigned int i = c->readable; bytes; i++) {
		const struct virtqueue_buffer *b = &c->buffer[i];
		uint64_t size = b->size < bytes ? b->size : bytes;

		if (!is_whole(b->gpa) || !is_whole(size) || mem_is_pinned(r->mem, b->gpa, size))
			return false;
		bytes -= size;
	}
	return true;
}

/* Notes that these pages are remapped; whether all of them were before. */
static bool note_pages(struct remap *r, uint64_t gpa, uint64_t size)
{
	uint64_t first = mem_page_number(r->mem, gpa);
	bool known = true;

	for (uint64_t page = first; page < first + size / PAGE_SIZE; page++) {
		known &= r->pages[page / BITS] >> page % BITS & 1;
		r->pages[page / BITS] |= 1ull << page % BITS;
	}
	return known;
}

static bool map_piece(struct remap *r, uint64_t gpa, uint64_t size, uint64_t at)
{
	void *hva = mem_at(r->mem, gpa, size, MEM_WRITE);

	if (!hva || r->pieces >= REMAP_MAX_PIECES)
		return false;
	if (mmap(hva, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, r->disk->fd, (off_t)at) == MAP_FAILED)
		return false;
	/* Only read-ahead for the guest's faults: without it they come one by one. */
	madvise(hva, size, MADV_POPULATE_READ);
	if (!note_pages(r, gpa, size))
		r->pieces++;
	mem_remapped(r->mem, gpa, size);
	return true;
}

static bool have_pages(struct remap *r)
{
	if (!r->pages)
		r->pages = calloc(r->mem->size / PAGE_SIZE / BITS + 1, sizeof(*r->pages));
	return r->pages;
}

bool remap_read(struct remap *r, const struct virtqueue_chain *c, uint64_t bytes, uint64_t at)
{
	/* A mapping would take the page from under the userfaultfd. */
	if (atomic_load(&r->mem->paged))
		return false;
	if (!bytes || !is_whole(at) || !all_whole(r, c, bytes) || !have_pages(r))
		return false;
	for (unsigned int i = c->readable; bytes; i++) {
		uint64_t size = c->buffer[i].size < bytes ? c->buffer[i].size : bytes;

		if (!map_piece(r, c->buffer[i].gpa, size, at))
			return false;
		at += size;
		bytes -= size;
	}
	return true;
}
