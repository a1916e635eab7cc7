#include "tests/bench/yardstick.h"

#include <stdio.h>

#include "guest/lib/random.h"
#include "guest/user/memory_pages.h"
#include "vmm/mem.h"

#define OTHERS_MIB 3u /* kernel, page tables, pages that are hot */

uint64_t yardstick_quarter(unsigned int mib)
{
	return (uint64_t)(mib - OTHERS_MIB) * (1u << 20) / PAGE_SIZE / 4;
}

const char *yardstick_words(unsigned int mib, unsigned int hot, unsigned int report, char words[160])
{
	unsigned long n = yardstick_quarter(mib);

	snprintf(words, 160,
		 "zero=%lu twin=%lu similar=%lu unique=%lu group=%u dup=0 cold=0 hot=%u verify=0 rounds=0 seed=%u report=%u", n, n, n, n,
		 YARDSTICK_GROUP, hot, YARDSTICK_SEED, report);
	return words;
}

void yardstick_fill(uint8_t *bytes, unsigned int mib, unsigned int guest)
{
	static const enum memory_kind quarters[] = {MEMORY_ZERO, MEMORY_TWIN, MEMORY_SIMILAR, MEMORY_UNIQUE};
	uint64_t pages = yardstick_quarter(mib), state = YARDSTICK_SEED, shared_seed[MEMORY_KINDS];

	for (unsigned int i = 0; i < MEMORY_KINDS; i++)
		shared_seed[i] = random_next(&state);
	for (unsigned int i = 0; i < 4; i++) {
		const struct memory_area area = {
			.kind = quarters[i], .pages = pages, .group = YARDSTICK_GROUP, .shared_seed = shared_seed[quarters[i]],
			.seed = memory_own_seed(shared_seed[quarters[i]], guest),
		};

		for (uint64_t page = 0; page < pages; page++, bytes += PAGE_SIZE)
			memory_make_page(&area, page, 0, (uint64_t *)(void *)bytes);
	}
}
