/*
 * Sizes of slots in a block: each as large as its share of the block, so that nothing is left behind the last one, and about 3 % smaller
 * than the one before it. With the words beside the slots, a block has on average 4 % more bytes than the objects that fill it.
 */
#pragma once

#include <stdint.h>

#define SIZE_CLASSES_MOST 128u
#define SIZE_CLASS_UNIT 4u
#define SIZE_CLASS_LEAST 28u

struct size_class {
	uint16_t size;	/* bytes of a slot, a multiple of SIZE_CLASS_UNIT */
	uint16_t slots; /* of a block */
};

/*
 * Fills `c`, the largest first, for objects of up to `most` bytes in blocks that have `word` bytes for each slot beside it. Returns how
 * many there are.
 */
unsigned int size_classes(struct size_class c[SIZE_CLASSES_MOST], uint32_t block, uint32_t most, uint32_t word);
