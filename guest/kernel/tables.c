#include "guest/kernel/tables.h"

#include <stddef.h>

#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"

#define FRAME_SHIFT 12
#define LEVELS 4

static unsigned int table_index(uint64_t gva, unsigned int level)
{
	return gva >> (FRAME_SHIFT + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}

uint64_t *tables_entry(uint64_t root, uint64_t gva, bool create)
{
	uint64_t *table = page_pointer(root);
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

int tables_each(uint64_t root, uint64_t start, uint64_t end,
		int (*visit)(uint64_t *pte, uint64_t gva, void *arg), void *arg)
{
	uint64_t *table = NULL;
	uint64_t *pte;
	int result;

	for (uint64_t gva = start; gva < end; gva += PAGE_SIZE) {
		if (gva == start || gva % LARGE_PAGE_SIZE == 0)
			table = tables_entry(root, gva & ~(LARGE_PAGE_SIZE - 1), false);
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

/* Frees the table below the entry for `gva` in a table of `level`, which has become all zero. */
static void free_table(uint64_t root, uint64_t gva, unsigned int level)
{
	uint64_t *table = page_pointer(root);
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

void tables_free(uint64_t root, uint64_t start, uint64_t end)
{
	for (unsigned int level = 2; level <= LEVELS; level++) {
		uint64_t reach = PAGE_SIZE << 9 * (level - 1);

		for (uint64_t gva = (start + reach - 1) & ~(reach - 1); gva < end; gva += reach)
			free_table(root, gva, level);
	}
}
