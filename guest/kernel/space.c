#include "guest/kernel/space.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/layout.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/kernel/trap.h"
#include "guest/kernel/user_image.h"
#include "guest/lib/string.h"

#define SPACE_MAX 64u
#define SLOT_USER 1u
#define FRAME_SHIFT 12
#define LEVELS 4

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

static unsigned int table_index(uint64_t gva, unsigned int level)
{
	return gva >> (FRAME_SHIFT + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}

/* The lowest-level entry of `gva`, or NULL. With `create`, tables are made on the way; NULL then means no memory. */
static uint64_t *walk(const struct space *space, uint64_t gva, bool create)
{
	uint64_t *table = page_pointer(space->root);
	uint64_t *entry;
	uint64_t page;

	for (unsigned int level = LEVELS; level > 1; level--) {
		entry = &table[table_index(gva, level)];
		if (!(*entry & PTE_P)) {
			page = create ? page_alloc_zero() : 0;
			if (page == 0)
				return NULL;
			*entry = page | PTE_TABLE;
		}
		table = page_pointer(*entry & PTE_FRAME);
	}
	return &table[table_index(gva, 1)];
}

/* Calls `visit` for each present entry of the pages [start, end); stops at the first result that is not 0. */
static int each_page(const struct space *space, uint64_t start, uint64_t end,
		     int (*visit)(uint64_t *pte, uint64_t gva, void *arg), void *arg)
{
	uint64_t *table = NULL;
	uint64_t *pte;
	int result;

	for (uint64_t gva = start; gva < end; gva += PAGE_SIZE) {
		if (gva == start || gva % LARGE_PAGE_SIZE == 0)
			table = walk(space, gva & ~(LARGE_PAGE_SIZE - 1), false);
		if (table == NULL) {
			gva |= LARGE_PAGE_SIZE - PAGE_SIZE;
			continue;
		}
		pte = &table[table_index(gva, 1)];
		result = *pte & PTE_P ? visit(pte, gva, arg) : 0;
		if (result != 0)
			return result;
	}
	return 0;
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
	uint64_t *copy = walk(arg, gva, true);

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
		failed = each_page(from, region.start, region.end, share_page, space);
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

/* Frees the table below the entry for `gva` in a table of `level`, which has become all zero. */
static void free_table(const struct space *space, uint64_t gva, unsigned int level)
{
	uint64_t *table = page_pointer(space->root);
	uint64_t *entry;

	for (unsigned int at = LEVELS;; at--) {
		entry = &table[table_index(gva, at)];
		if (!(*entry & PTE_P))
			return;
		if (at == level)
			break;
		table = page_pointer(*entry & PTE_FRAME);
	}
	page_unref_zero(*entry & PTE_FRAME);
	*entry = 0;
}

void space_put(struct space *space)
{
	struct region region;

	if (--space->refs > 0)
		return;
	space_activate(NULL);
	for (unsigned int i = 0; i < REGIONS; i++) {
		region = region_at(space, i);
		each_page(space, region.start, region.end, free_page, NULL);
	}
	for (unsigned int level = 2; level <= LEVELS; level++) {
		uint64_t step = PAGE_SIZE << 9 * (level - 1);

		for (uint64_t gva = USER_BASE; gva < space->heap_end; gva += step)
			free_table(space, gva, level);
	}
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
	uint64_t *pte = walk(space, gva, true);
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
		pte = walk(space, page, false);
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
		pte = walk(space, gva, true);
		if (pte == NULL || !map_zeros(pte, (next - gva) / PAGE_SIZE, heap.flags))
			return 0;
	}
	return start;
}

uint64_t space_push(struct space *space, const void *bytes, uint64_t size)
{
	struct region stack = region_at(space, STACK);
	uint64_t gva = (USER_STACK_TOP - size) & ~15ull;
	uint64_t *pte = walk(space, USER_STACK_TOP - PAGE_SIZE, true);

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
