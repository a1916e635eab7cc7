#include "dedup/hash_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "vmm/mem.h"

uint64_t hash_avx2(const void *page)
{
	return XXH3_64bits(page, PAGE_SIZE);
}
