/*
 * What a column says of its host: read from a made-up host, and from processors made up of CPUID leaves.
 */
#include "compare/column.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_root.h"
#include "tests/vm/suite.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

#define CPUINFO "/proc/cpuinfo"
#define OSRELEASE "/proc/sys/kernel/osrelease"
#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static const struct mmu_ops mmu = {.name = "mode"};
static const struct program program = {
	.host_mmu = "npt", .host_mmu_words = "words about it", .host_mmu_nested = true, .host_ring0_interpreted = true,
};

static void describe(const char *root, struct column *c)
{
	memset(c, 0xaa, sizeof(*c));
	column_describe(c, &mmu, &program, root);
}

START_TEST(host_is_described)
{
	struct column c;
	struct fake f;

	fake_begin(&f);
	fake_file(&f, CPUINFO, "processor\t: 0\nmodel\t\t: 1\nmodel name\t: A CPU: fast\nmodel name\t: Another\n");
	fake_file(&f, OSRELEASE, "6.1.0-test\n");
	fake_file(&f, CLOCKSOURCE, "tsc\n");
	describe(f.root, &c);
	ck_assert_str_eq(c.cpu, "A CPU: fast");
	ck_assert_str_eq(c.kernel, "6.1.0-test");
	ck_assert_str_eq(c.clocksource, "tsc");
	ck_assert_str_eq(c.mmu, "mode");
	ck_assert_str_eq(c.host_mmu, "npt");
	ck_assert_str_eq(c.host_words, "words about it");
	ck_assert(c.nested);
	ck_assert(c.ring0_interpreted);
	ck_assert_uint_ge(c.tlb_reach, 4096);
	ck_assert_uint_eq(c.tlb_reach % 4096, 0);
	fake_end(&f);
}
END_TEST

START_TEST(what_is_not_there_is_unknown)
{
	struct column c;

	describe("/nowhere", &c);
	ck_assert_str_eq(c.cpu, "unknown");
	ck_assert_str_eq(c.kernel, "unknown");
	ck_assert_str_eq(c.clocksource, "unknown");
}
END_TEST

/* Empty values, a file without the line, lines longer than any field, no newline at the end. */
START_TEST(odd_files)
{
	char line[600];
	struct column c;
	struct fake f;

	fake_begin(&f);
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	fake_file(&f, CPUINFO, "processor : 0\nmodel nam");
	fake_file(&f, OSRELEASE, "\n");
	fake_file(&f, CLOCKSOURCE, line);
	describe(f.root, &c);
	ck_assert_str_eq(c.cpu, "unknown");
	ck_assert_str_eq(c.kernel, "unknown");
	ck_assert_uint_eq(strlen(c.clocksource), sizeof(c.clocksource) - 1);
	fake_file(&f, CPUINFO, "model name\t:\n");
	fake_file(&f, CLOCKSOURCE, "hpet");
	describe(f.root, &c);
	ck_assert_str_eq(c.cpu, "unknown");
	ck_assert_str_eq(c.clocksource, "hpet");
	fake_end(&f);
}
END_TEST

static void expect_reach(struct cpuid_words (*cpuid)(uint32_t, uint32_t), uint64_t entries, const char *told)
{
	const char *where = NULL;

	ck_assert_uint_eq(column_tlb_reach_of(cpuid, &where), entries * 4096);
	ck_assert_str_eq(where, told);
}

static struct cpuid_words nothing(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_words){0};
}

/* 2048 entries for data, eight-way; 1024 for code. */
static struct cpuid_words amd(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_words){.b = leaf == 0x80000006 ? 0x68006400 : 0};
}

static struct cpuid_words amd_without(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_words){.b = leaf == 0x80000006 ? 0x08006400 : 0};
}

/* Counted in 32s, which a bit says, or the family alone. */
static struct cpuid_words amd_by_32(uint32_t leaf, uint32_t subleaf)
{
	switch (leaf) {
	case 0x80000021: return (struct cpuid_words){.a = 1 << 14};
	case 0x80000006: return (struct cpuid_words){.b = 0x60804040};
	default: return nothing(leaf, subleaf);
	}
}

static struct cpuid_words amd_by_32_unsaid(uint32_t leaf, uint32_t subleaf)
{
	switch (leaf) {
	case 1: return (struct cpuid_words){.a = 0x00b00f21};
	case 0x80000006: return (struct cpuid_words){.b = 0x60804040};
	default: return nothing(leaf, subleaf);
	}
}

/* The family before: as it stands. */
static struct cpuid_words amd_by_1(uint32_t leaf, uint32_t subleaf)
{
	switch (leaf) {
	case 1: return (struct cpuid_words){.a = 0x00a00f11};
	case 0x80000021: return (struct cpuid_words){.a = 0x204};
	default: return amd(leaf, subleaf);
	}
}

/*
 * Code of 4 KiB; data of 4 KiB, 16 × 4; unified of 2 MiB only; unified of 4 KiB and 2 MiB, 256 × 8; stores; then nothing: the
 * leaf's EAX says that there are five more.
 */
static struct cpuid_words intel(uint32_t leaf, uint32_t subleaf)
{
	static const struct cpuid_words sub[] = {
		{5, 16u << 16 | 1, 4096, 2}, {0, 4u << 16 | 1, 16, 1}, {0, 64u << 16 | 2, 4096, 3},
		{0, 8u << 16 | 3, 256, 3},   {0, 16u << 16 | 1, 1024, 5}, {0, 0, 0, 0},
		{0, 32u << 16 | 1, 4096, 1}, /* behind the last */
	};

	if (leaf == 0x80000006)
		return amd(leaf, subleaf);
	return leaf == 0x18 && subleaf < 7 ? sub[subleaf] : nothing(leaf, subleaf);
}

/* Absurd: the number of subleaves, and ways by sets beyond 32 bits. */
static struct cpuid_words absurd(uint32_t leaf, uint32_t subleaf)
{
	return leaf == 0x18 ? (struct cpuid_words){UINT32_MAX, 0xffff0001, UINT32_MAX, 3} : nothing(leaf, subleaf);
}

START_TEST(reach_of_the_tlb)
{
	const char *where = NULL;

	expect_reach(nothing, 1536, "assumed");
	expect_reach(amd, 2048, "CPUID 0x80000006");
	expect_reach(amd_by_32, 4096, "CPUID 0x80000006");
	expect_reach(amd_by_32_unsaid, 4096, "CPUID 0x80000006");
	expect_reach(amd_by_1, 2048, "CPUID 0x80000006");
	expect_reach(amd_without, 1536, "assumed");
	expect_reach(intel, 2048, "CPUID 0x18");
	expect_reach(absurd, 1536, "assumed");
	ck_assert_uint_ge(column_tlb_reach(&where), 16 * 4096);
	ck_assert_ptr_nonnull(where);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {host_is_described, what_is_not_there_is_unknown, odd_files, reach_of_the_tlb};

	return RUN_TESTS("compare-column", tests);
}
