/*
 * What the ways to boot (boot.h) have in common: low memory, the command line, files in RAM, and the CPU's first state.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cpu_state;
struct vm;

#define BOOT_INFO_GPA 0x1000ull
#define BOOT_PML4_GPA 0x2000ull
#define BOOT_PDPT_GPA 0x3000ull
#define BOOT_PD_GPA 0x4000ull
#define BOOT_CMDLINE_GPA 0x5000ull
#define BOOT_CMDLINE_MAX 0x8000u /* bytes, with the NUL */
#define BOOT_EXTRA_GPA 0xd000ull /* up to ABI_LOAD_MIN: what one way to boot needs besides */

/* Guest bytes that are RAM for certain, such as all below ABI_LOAD_MIN, to be written. */
void *boot_ram(struct vm *vm, uint64_t gpa, uint64_t size);

/*
 * Writes the command line to BOOT_CMDLINE_GPA; it may have `max` bytes (at most BOOT_CMDLINE_MAX) with its NUL. Returns its
 * size with the NUL, or a logged -E2BIG.
 */
int boot_write_cmdline(struct vm *vm, const char *cmdline, size_t max);

/* A file in guest RAM. size = 0: none. */
struct boot_file {
	uint64_t gpa, size;
};

/*
 * Reads a whole file to the highest pages of the lowest region that lie in [low, high). Returns 0 or a logged -errno: -EINVAL
 * for what is no file, empty or shrinks, -ENOSPC for one that does not fit.
 */
int boot_load_file(struct vm *vm, const char *path, uint64_t low, uint64_t high, struct boot_file *file);

/* One to one for the first GiB in 2 MiB pages, A and D set so that the first touches need no table writes. */
void boot_write_page_tables(struct vm *vm);

/*
 * The first state of a CPU with flat segments of ring 0, interrupts off, all general registers 0, at `entry`: in 64-bit mode on
 * the page tables above, or in 32-bit protected mode without paging. CS holds `selector`, the others the next one.
 */
void boot_cpu_64(struct cpu_state *cs, uint64_t entry, uint16_t selector);
void boot_cpu_32(struct cpu_state *cs, uint64_t entry, uint16_t selector);
