#include "guest/kernel/space.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/layout.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/tables.h"
#include "guest/kernel/trap.h"
#include "guest/kernel/user_image.h"
#include "guest/lib/string.h"

#define SPACE_MAX 64u
#define SLOT_USER 1u

struct space {
	uint64_t root; /* 0 = this entry of the table is free */
	unsigned int refs;
	uint64_t heap_end;
	uint64_t stack_low; /* the lowest page of the stack in use */
};

enum { HEAP = USER_IMAGE_REGIONS, STACK, REGIONS };

static struct space spaces[SPACE_MAX];
static struct space_stats stats;

static struct region region_at(const struct space *space, unsigned int i)
{
	if (i < HEAP)
		return user_image[i];
	if (i == HEAP)
		return (struct region){ USER_HEAP, space->heap_end, 0, PTE_W | PTE_NX };
	return (struct region){ space->stack_low, USER_STACK_TOP, 0, PTE_W | PTE_NX };
}

/* The region around `gva`; the stack's is taken as large as it may become. */
static bool region_find(const struct space *space, uint64_t gva, struct region *region)
{
	for (unsigned int i = 0; i < REGIONS; i++) {
		*region = region_at(space, i);
		if (i == STACK)
			region->start = USER_STACK_LIMIT;
		if (gva >= region->start && gva < region->end)
			return true;
	}
	return false;
}

struct space *space_create(void)
{
	struct space *space = spaces;

	while (space < spaces + SPACE_MAX && space->root != 0)
		space++;
	if (space == spaces + SPACE_MAX)
		return NULL;
	space->root = page_alloc_zero();
	if (space->root == 0)
		return NULL;
	*(uint64_t *)page_pointer(space->root) = kernel_pml4[0];
	space->refs = 1;
	space->heap_end = USER_HEAP;
	space->stack_low = USER_STACK_TOP;
	return space;
}

struct space *space_share(struct space *space)
{
	space->refs++;
	return space;
}

static int share_page(uint64_t *pte, uint64_t gva, void *arg)
{
	uint64_t *copy = tables_entry(((struct space *)arg)->root, gva, true);

	if (copy == NULL)
		return -1;
	if (*pte & PTE_W)
		*pte = (*pte & ~(uint64_t)(PTE_W | PTE_D)) | PTE_COW;
	*copy = *pte;
	page_ref(*pte & PTE_FRAME);
	return 0;
}

struct space *space_fork(struct space *from)
{
	struct space *space = space_create();
	struct region region;
	int failed = 0;

	if (space == NULL)
		return NULL;
	space->heap_end = from->heap_end;
	space->stack_low = from->stack_low;
	for (unsigned int i = 0; i < REGIONS && !failed; i++) {
		region = region_at(from, i);
		failed = tables_each(from->root, region.start, region.end, share_page, space);
	}
	write_cr3(from->root); /* its writable pages have become read-only */
	if (!failed)
		return space;
	space_put(space);
	return NULL;
}

static int free_page(uint64_t *pte, uint64_t gva, void *arg)
{
	page_unref(*pte & PTE_FRAME);
	*pte = 0;
	return 0;
}

void space_put(struct space *space)
{
	struct region region;

	if (--space->refs > 0)
		return;
	space_activate(NULL);
	for (unsigned int i = 0; i < REGIONS; i++) {
		region = region_at(space, i);
		tables_each(space->root, region.start, region.end, free_page, NULL);
	}
	tables_free(space->root, USER_BASE, space->heap_end);
	*(uint64_t *)page_pointer(space->root) = 0;
	page_unref_zero(space->root);
	space->root = 0;
}

void space_activate(const struct space *space)
{
	write_cr3(space != NULL ? space->root : (uint64_t)kernel_pml4);
}

static enum space_verdict map_zero(const struct region *region, uint64_t *pte)
{
	uint64_t page = page_alloc_zero();

	if (page == 0)
		return SPACE_NO_MEMORY;
	stats.zeroed++;
	*pte = page | region->flags | PTE_P | PTE_U | PTE_A | PTE_D;
	return SPACE_OK;
}

static enum space_verdict map_copy(uint64_t *pte, uint64_t from, uint64_t flags)
{
	uint64_t page = page_alloc();

	if (page == 0)
		return SPACE_NO_MEMORY;
	stats.copied++;
	memcpy(page_pointer(page), page_pointer(from), PAGE_SIZE);
	*pte = page | flags | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	return SPACE_OK;
}

static enum space_verdict map_absent(struct space *space, const struct region *region, uint64_t gva, bool write)
{
	uint64_t *pte = tables_entry(space->root, gva, true);
	uint64_t image;

	if (pte == NULL)
		return SPACE_NO_MEMORY;
	if (region->gpa == 0)
		return map_zero(region, pte);
	image = region->gpa + (gva - region->start);
	if (write)
		return map_copy(pte, image, region->flags);
	*pte = image | (region->flags & PTE_NX) | PTE_P | PTE_U | PTE_A;
	if (region->flags & PTE_W)
		*pte |= PTE_COW;
	return SPACE_OK;
}

/* A write to a page that was shared: the last one who has it keeps it, others take a copy. */
static enum space_verdict break_share(uint64_t *pte, uint64_t gva)
{
	uint64_t page = *pte & PTE_FRAME;
	enum space_verdict verdict = SPACE_OK;

	if (page_shared(page)) {
		verdict = map_copy(pte, page, *pte & PTE_NX);
		if (verdict == SPACE_OK)
			page_unref(page);
	} else {
		*pte = (*pte & ~(uint64_t)PTE_COW) | PTE_W | PTE_D;
	}
	invlpg(gva);
	return verdict;
}

enum space_verdict space_fault(struct space *space, uint64_t gva, uint64_t error)
{
	uint64_t page = gva & ~(PAGE_SIZE - 1);
	enum space_verdict verdict;
	struct region region;
	uint64_t *pte;

	if (!region_find(space, gva, &region) || (error & FAULT_RESERVED))
		return SPACE_BAD_ACCESS;
	if ((error & FAULT_WRITE) && !(region.flags & PTE_W))
		return SPACE_BAD_ACCESS;
	if ((error & FAULT_FETCH) && (region.flags & PTE_NX))
		return SPACE_BAD_ACCESS;
	if (!(error & FAULT_PRESENT)) {
		verdict = map_absent(space, &region, page, error & FAULT_WRITE);
	} else {
		pte = tables_entry(space->root, page, false);
		if (pte == NULL || !(error & FAULT_WRITE) || !(*pte & PTE_COW))
			return SPACE_BAD_ACCESS;
		verdict = break_share(pte, page);
	}
	if (region.end == USER_STACK_TOP && page < space->stack_low)
		space->stack_low = page;
	stats.faults++;
	return verdict;
}

bool space_allows(const struct space *space, uint64_t gva, uint64_t size, bool write)
{
	struct region region;

	if (size > USER_END || gva < USER_BASE || gva > USER_END - size)
		return false;
	for (uint64_t end = gva + size; gva < end; gva = region.end) {
		if (!region_find(space, gva, &region) || (write && !(region.flags & PTE_W)))
			return false;
	}
	return true;
}

/* Fills `count` entries from `pte` on, all of them absent, with pages of zeros. */
static bool map_zeros(uint64_t *pte, uint64_t count, uint64_t flags)
{
	uint64_t page, got;

	for (; count > 0; count -= got) {
		got = 1;
		page = page_alloc_run(count, &got);
		if (page == 0)
			page = page_alloc_zero();
		if (page == 0)
			return false;
		stats.zeroed += got;
		for (uint64_t end = page + got * PAGE_SIZE; page < end; page += PAGE_SIZE)
			*pte++ = page | flags | PTE_P | PTE_U | PTE_A | PTE_D;
	}
	return true;
}

uint64_t space_grow(struct space *space, uint64_t count, bool populate)
{
	struct region heap = region_at(space, HEAP);
	uint64_t start = space->heap_end;
	uint64_t next;
	uint64_t *pte;

	if (count > (USER_END - start) / PAGE_SIZE)
		return 0;
	space->heap_end += count * PAGE_SIZE;
	for (uint64_t gva = start; populate && gva < space->heap_end; gva = next) {
		next = (gva | (LARGE_PAGE_SIZE - 1)) + 1;
		if (next > space->heap_end)
			next = space->heap_end;
		pte = tables_entry(space->root, gva, true);
		if (pte == NULL || !map_zeros(pte, (next - gva) / PAGE_SIZE, heap.flags)) {
			space_shrink(space, count);
			return 0;
		}
	}
	return start;
}

bool space_shrink(struct space *space, uint64_t count)
{
	uint64_t end = space->heap_end;

	if (count > (end - USER_HEAP) / PAGE_SIZE)
		return false;
	space->heap_end -= count * PAGE_SIZE;
	tables_each(space->root, space->heap_end, end, free_page, NULL);
	tables_free(space->root, space->heap_end, end);
	space_activate(space);
	return true;
}

/* Makes the page writable that `pte` maps at `gva`, as a write of ring 3 would; false = no memory. */
static bool make_writable(struct space *space, uint64_t *pte, uint64_t gva)
{
	uint64_t error = FAULT_USER | FAULT_WRITE;

	if (*pte & PTE_W)
		return true;
	if (*pte & PTE_P)
		error |= FAULT_PRESENT;
	return space_fault(space, gva, error) == SPACE_OK;
}

/* The entry of `gva`, when `pte` is that of the page before it; NULL = not known, or no memory. */
static uint64_t *next_entry(const struct space *space, uint64_t *pte, uint64_t gva)
{
	return pte == NULL || gva % LARGE_PAGE_SIZE == 0 ? tables_entry(space->root, gva, true) : pte + 1;
}

static bool alias_pages(struct space *space, uint64_t gva, uint64_t at, uint64_t end)
{
	uint64_t *from = NULL;
	uint64_t *to = NULL;

	for (; at < end; at += PAGE_SIZE, gva += PAGE_SIZE) {
		from = next_entry(space, from, gva);
		to = next_entry(space, to, at);
		if (from == NULL || to == NULL || !make_writable(space, from, gva))
			return false;
		page_ref(*from & PTE_FRAME);
		*to = *from;
	}
	return true;
}

uint64_t space_alias(struct space *space, uint64_t gva, uint64_t count)
{
	uint64_t start = space->heap_end;

	if (gva % PAGE_SIZE != 0 || gva < USER_HEAP || gva > start || count > (start - gva) / PAGE_SIZE ||
	    count > (USER_END - start) / PAGE_SIZE)
		return 0;
	space->heap_end += count * PAGE_SIZE;
	if (alias_pages(space, gva, start, space->heap_end))
		return start;
	space_shrink(space, count);
	return 0;
}

uint64_t space_push(struct space *space, const void *bytes, uint64_t size)
{
	struct region stack = region_at(space, STACK);
	uint64_t gva = (USER_STACK_TOP - size) & ~15ull;
	uint64_t *pte = tables_entry(space->root, USER_STACK_TOP - PAGE_SIZE, true);

	if (pte == NULL || map_zero(&stack, pte) != SPACE_OK)
		return 0;
	space->stack_low = USER_STACK_TOP - PAGE_SIZE;
	memcpy((char *)page_pointer(*pte & PTE_FRAME) + gva % PAGE_SIZE, bytes, size);
	return gva;
}

struct space_stats space_stats(void)
{
	return stats;
}
