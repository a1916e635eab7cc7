#include "guest/kernel/paging.h"

#define GIB (1ull << 30)

extern uint64_t kernel_pdpt[TABLE_ENTRIES];

/* A table for each GiB but the first. It takes no page of the allocator, which needs these maps itself. */
static uint64_t directories[KERNEL_RAM_MAX / GIB - 1][TABLE_ENTRIES] __attribute__((aligned(4096)));

void paging_map(uint64_t gpa, uint64_t flags)
{
	uint64_t gib = gpa / GIB;
	uint64_t *directory;

	if (kernel_pdpt[gib] == 0)
		kernel_pdpt[gib] = (uint64_t)directories[gib - 1] | PTE_TABLE;
	directory = (uint64_t *)(kernel_pdpt[gib] & PTE_FRAME);
	directory[gpa / LARGE_PAGE_SIZE % TABLE_ENTRIES] = (gpa & ~(LARGE_PAGE_SIZE - 1)) | PTE_PS | flags;
}

void paging_map_ram(uint64_t gpa)
{
	paging_map(gpa, PTE_KERNEL_DATA);
}
