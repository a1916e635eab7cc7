/*
 * The files that multiboot and PVH kernels get: --initrd's first, then those of --module in their order, each with a string.
 */
#pragma once

#include <stdint.h>

struct vm;
struct vm_config;

#define BOOT_MAX_MODULES 17u /* VM_MAX_MODULES and the initrd */

struct boot_module {
	uint64_t gpa, size;
	uint64_t cmdline; /* gpa of its string */
};

struct boot_modules {
	struct boot_module module[BOOT_MAX_MODULES];
	unsigned int count;
};

/*
 * Reads them into RAM, page-aligned, each below the one before, all above the image, and writes their strings one after the
 * other from gpa `strings` on, below `strings_end`. Returns 0 or a logged -errno: -ENOSPC for what does not fit, -E2BIG for
 * strings that do not, and what boot_load_file() says.
 */
int boot_load_modules(struct vm *vm, const struct vm_config *config, uint64_t strings, uint64_t strings_end,
		      struct boot_modules *all);
