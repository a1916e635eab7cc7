/*
 * The map of guest-physical memory that PC kernels are told, in the terms of the BIOS call INT 15h, AX = E820h (ACPI
 * specification 6.4, chapter 15).
 *
 * All RAM but 640 KiB to 1 MiB, which kernels take for the display and the BIOS of a PC, and one page below it.
 */
#pragma once

#include <stdint.h>

struct mem;

#define MEMORY_MAP_RAM 1u
#define MEMORY_MAP_RESERVED 2u
#define MEMORY_MAP_MAX 4u
#define MEMORY_MAP_LOW_END 0x9f000ull /* where RAM below 640 KiB ends for guests */
#define MEMORY_MAP_HIGH 0x100000ull   /* where it goes on */

struct memory_map_entry {
	uint64_t gpa, size;
	uint32_t type;
};

struct memory_map {
	struct memory_map_entry entry[MEMORY_MAP_MAX]; /* ascending, not overlapping, none empty */
	unsigned int count;
};

struct memory_map memory_map_of(const struct mem *m);
