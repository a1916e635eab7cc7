#include "dedup/size_class.h"

#include <stdbool.h>

#include "vmm/ensure.h"

#define STEP_PERCENT 3u

static uint32_t share(uint32_t block, uint32_t slots, uint32_t word)
{
	return (block / slots - word) & ~(SIZE_CLASS_UNIT - 1);
}

/* So much smaller that one more class is worth it. */
static bool is_step(uint32_t from, uint32_t to)
{
	return to + SIZE_CLASS_UNIT <= from && (uint64_t)to * 100 <= (uint64_t)from * (100 - STEP_PERCENT);
}

unsigned int size_classes(struct size_class c[SIZE_CLASSES_MOST], uint32_t block, uint32_t most, uint32_t word)
{
	uint32_t slots = block / (most + word), size = most;
	unsigned int count = 0;

	for (; size >= SIZE_CLASS_LEAST; size = share(block, ++slots, word)) {
		if (count && !is_step(c[count - 1].size, size))
			continue;
		ensure(count < SIZE_CLASSES_MOST);
		c[count++] = (struct size_class){.size = (uint16_t)size, .slots = (uint16_t)slots};
	}
	return count;
}
