/* The operations of ring 3 of the image mmucost, and how they set marks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/lib/mmucost.h"

struct user_operation {
	const char *name;
	/* Does it `count` times between marks, on `pages` where it asks for them; true if all of it had its effect. */
	bool (*run)(uint64_t count, uint64_t pages);
	bool takes_pages;
};

/*
 * Each ends with an operation without a name. Hidden, lest clang look their addresses up in a table of the linker's, which an
 * image has not.
 */
extern __attribute__((visibility("hidden"))) const struct user_operation cpu_operations[], memory_operations[],
	reach_operations[], process_operations[];

/* MMUCOST_*, to the kernel; the result of a request. */
uint64_t ask(uint64_t what, const void *gva, uint64_t pages);
void begin_mark(void);
void end_mark(void);
