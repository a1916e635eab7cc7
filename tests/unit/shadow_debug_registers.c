/*
 * What of a guest's breakpoints the real CPU gets: each of the four, at and around the borders of the monitor's addresses, whatever
 * else DR7 says.
 */
#include "shadow/debug_registers.h"

#include <check.h>
#include <stdlib.h>

#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"

#define FIRST 0xffff800000000000ull
#define LAST 0xffff807fffffffffull

static const uint64_t addresses[] = {0, 0x7fffffffffff, FIRST - 1, FIRST, FIRST + 1, FIRST + 0x5008, LAST, LAST + 1, ~0ull};

#define ADDRESSES (sizeof(addresses) / sizeof(*addresses))

static uint64_t oracle(const struct cpu_state *cs)
{
	static const uint64_t enables[] = {0x3, 0xc, 0x30, 0xc0};
	uint64_t off = 0x2000;

	for (unsigned int n = 0; n < 4; n++)
		off |= cs->dr[n] >= FIRST && cs->dr[n] <= LAST ? enables[n] : 0;
	return cs->dr7 & ~off;
}

START_TEST(all_addresses)
{
	struct random r = random_start("debug_registers");
	struct cpu_state cs = {0};

	for (unsigned int i = 0; i < ADDRESSES * ADDRESSES * ADDRESSES * ADDRESSES; i++) {
		for (unsigned int n = 0, rest = i; n < 4; n++, rest /= ADDRESSES)
			cs.dr[n] = addresses[rest % ADDRESSES];
		cs.dr7 = i % 2 ? 0xffff2fff : (uint32_t)random_next(&r);
		ck_assert_uint_eq(debug_registers_dr7(&cs), oracle(&cs));
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {all_addresses};

	return RUN_TESTS("shadow_debug_registers", tests);
}
