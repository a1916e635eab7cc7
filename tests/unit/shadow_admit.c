/*
 * What the shadow takes over from outside: every bit of the registers that decide it, and every border of where RIP can be.
 */
#include "shadow/admit.h"

#include <check.h>
#include <stddef.h>
#include <stdlib.h>

#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"

#define CODE64 0xa9b
#define CODE32 0xc9b

static struct cpu_state good(void)
{
	return (struct cpu_state){.cr0 = 0x80010033, .cr4 = 0x620, .efer = 0xd01,
				  .segment[CPU_CS] = {.attributes = CODE64, .limit = UINT32_MAX}};
}

/* Each bit of each register, changed alone. Good: what a guest in long mode may have, by the manuals' bit numbers. */
static void check_bits(size_t offset, uint64_t may_change)
{
	for (unsigned int bit = 0; bit < 64; bit++) {
		struct cpu_state cs = good();

		*(uint64_t *)((char *)&cs + offset) ^= 1ull << bit;
		ck_assert_msg((admit_reason(&cs) == NULL) == (may_change >> bit & 1), "offset %zu, bit %u: %s", offset, bit,
			      admit_reason(&cs));
	}
}

START_TEST(registers)
{
	struct cpu_state cs = good();

	ck_assert_ptr_null(admit_reason(&cs));
	check_bits(offsetof(struct cpu_state, cr0), ~(1ull | 1ull << 31));
	check_bits(offsetof(struct cpu_state, cr4), 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 20);
	check_bits(offsetof(struct cpu_state, efer), 1 << 0 | 1 << 11);
	check_bits(offsetof(struct cpu_state, segment[CPU_FS].base), (1ull << 47) - 1);
	check_bits(offsetof(struct cpu_state, segment[CPU_GS].base), (1ull << 47) - 1);
	check_bits(offsetof(struct cpu_state, cr3), ~0ull);
	check_bits(offsetof(struct cpu_state, rip), ~0ull);
}
END_TEST

START_TEST(flags)
{
	const uint64_t none[] = {3, 5, 15, 17};

	ck_assert_uint_eq(admit_rflags(0), 2);
	for (unsigned int bit = 0; bit < 64; bit++) {
		bool there = bit < 22;

		for (unsigned int i = 0; i < 4; i++)
			there &= bit != none[i];
		ck_assert_uint_eq(admit_rflags(1ull << bit), there ? 1ull << bit | 2 : 2);
	}
}
END_TEST

START_TEST(rip)
{
	static const struct {
		uint16_t attributes;
		uint32_t limit;
		uint64_t rip;
		bool good;
	} cases[] = {
		{CODE64, 0, 0, true},
		{CODE64, 0, 0x7fffffffffff, true},
		{CODE64, 0, 0x800000000000, false},
		{CODE64, 0, 0xffff7fffffffffff, false},
		{CODE64, 0, 0xffff800000000000, true},
		{CODE64, 0, UINT64_MAX, true},
		{CODE64, 0, 1ull << 63, false},
		{CODE32, UINT32_MAX, UINT32_MAX, true},
		{CODE32, UINT32_MAX, 1ull << 32, false},
		{CODE32, 0xfff, 0xfff, true},
		{CODE32, 0xfff, 0x1000, false},
		{CODE32, UINT32_MAX, UINT64_MAX, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu_state cs = good();

		cs.rip = cases[i].rip;
		cs.segment[CPU_CS].attributes = cases[i].attributes;
		cs.segment[CPU_CS].limit = cases[i].limit;
		ck_assert_msg(admit_rip(&cs) == cases[i].good, "case %zu", i);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {registers, flags, rip};

	return RUN_TESTS("shadow_admit", tests);
}
