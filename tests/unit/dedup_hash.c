/* A page's hash is the same whatever the processor can: what one made is looked for by the other. */
#include <check.h>
#include <string.h>
#include <xxhash.h>

#include "dedup/equal.h"
#include "dedup/hash_avx2.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/mem.h"

#define WORDS (PAGE_SIZE / sizeof(uint64_t))

START_TEST(same_hash)
{
	struct random r = random_start("dedup_hash");
	_Alignas(PAGE_SIZE) uint64_t page[WORDS] = {0};

	for (unsigned int i = 0; i < 5000; i++) {
		uint64_t hash = XXH3_64bits(page, sizeof(page));

		expect_eq(equal_hash(page), (uint32_t)hash);
		if (__builtin_cpu_supports("avx2"))
			expect_eq(hash_avx2(page), hash);
		page[random_below(&r, WORDS)] = random_next(&r);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {same_hash};

	return RUN_TESTS("dedup_hash", tests);
}
