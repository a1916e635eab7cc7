/*
 * Where RAM of a given size lies (mem_create()), for whoever has no RAM of that size at hand.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/abi.h"
#include "vmm/mem.h"

/* The gpa behind the last byte of RAM: the size of a memory file. */
static inline uint64_t ram_end(uint64_t ram)
{
	return ram <= ABI_HOLE_START ? ram : ABI_HOLE_END + (ram - ABI_HOLE_START);
}

static inline bool ram_size_is_good(uint64_t ram)
{
	return ram >= MEM_MIN_BYTES && ram <= MEM_MAX_BYTES && ram % PAGE_SIZE == 0;
}

/* Whether [gpa, gpa + size) is RAM of one region. */
static inline bool ram_holds(uint64_t ram, uint64_t gpa, uint64_t size)
{
	uint64_t low = ram < ABI_HOLE_START ? ram : ABI_HOLE_START, end = ram_end(ram);

	if (gpa < low)
		return size <= low - gpa;
	return gpa >= ABI_HOLE_END && gpa < end && size <= end - gpa;
}
