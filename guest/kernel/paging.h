/*
 * The kernel's half of every address space (PML4 slot 0): gpas one to one. boot.S brings the first 2 MiB, page by page;
 * more RAM and devices are added in large pages when they are first used, and never taken away.
 */
#pragma once

#include <stdint.h>

#include "guest/kernel/pte.h"

#define LARGE_PAGE_SIZE 0x200000ull
#define TABLE_ENTRIES 512u

/* RAM above this gpa is left alone: the tables that map the kernel's half are part of the image. */
#define KERNEL_RAM_MAX (16ull << 30)

extern uint64_t kernel_pml4[TABLE_ENTRIES];

/* Maps the large page around `gpa` (at least KERNEL_END, below KERNEL_RAM_MAX) as RAM of the kernel. */
void paging_map_ram(uint64_t gpa);
/* Maps it with `flags` (PTE_*), at most once. For devices: PTE_KERNEL_DEVICE. */
void paging_map(uint64_t gpa, uint64_t flags);

#define PTE_KERNEL_DEVICE (PTE_KERNEL_DATA | PTE_PCD | PTE_PWT)
