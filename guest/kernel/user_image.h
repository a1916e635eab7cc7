/* Where the user programs lie. The values are made by the linker (kernel.ld.S) and stored by user_image.S. */
#pragma once

#include <stdint.h>

/* Pages of one kind: [start, end) in user space, filled from gpa; 0 = with zeros. flags: PTE_W, PTE_NX. */
struct region {
	uint64_t start;
	uint64_t end;
	uint64_t gpa;
	uint64_t flags;
};

#define USER_IMAGE_REGIONS 4

/*
 * Read as data, not named as symbols in C: user addresses are out of reach of the code model the kernel is compiled
 * in, which takes every address to fit into 31 bits.
 */
extern const struct region user_image[USER_IMAGE_REGIONS];
/* Where every program starts: start(main, line), see user/start.c. */
extern const uint64_t user_entry;
