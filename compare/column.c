#include "compare/column.h"

#include <cpuid.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/host_file.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

#define PAGE 4096ull
#define ASSUMED_ENTRIES 1536u /* the second level of most processors of the last ten years has as many or more */
#define LEAF_TLB 0x18u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_AMD_TLB 0x80000006u
#define LEAF_AMD_FEATURES 0x80000021u
#define L2_TLB_SIZE_X32 (1u << 14) /* its EAX */
#define FAMILY_X32 0x1au
#define MAX_SUBLEAVES 64u
#define HYPERVISOR (1u << 31) /* leaf 1, ECX */
#define PASSES 1000000ull
#define TRIES 3

/* CPUID 0x18, EDX bits 4:0 (SDM vol. 2A, CPUID): kinds that hold what loads need. */
enum { TLB_DATA = 1, TLB_UNIFIED = 3, TLB_LOAD = 4 };

static void read_value(const char *root, const char *path, const char *key, char *value, size_t size)
{
	if (!host_file_line(root, path, key, value, size))
		snprintf(value, size, "unknown");
}

static struct cpuid_words host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_words w = {0};
	bool hypervisor = leaf >= LEAF_HYPERVISOR && leaf < LEAF_EXTENDED;

	if (hypervisor)
		__cpuid_count(leaf, subleaf, w.a, w.b, w.c, w.d);
	else
		__get_cpuid_count(leaf, subleaf, &w.a, &w.b, &w.c, &w.d);
	return w;
}

/* QEMU without hardware virtualisation says so (its target/i386/cpu.c; "TCGTCGTCGTCG"). */
static bool is_emulated(void)
{
	struct cpuid_words w;
	char signature[13] = "";

	if (!(host_cpuid(1, 0).c & HYPERVISOR))
		return false;
	w = host_cpuid(LEAF_HYPERVISOR, 0);
	memcpy(signature, &w.b, 4);
	memcpy(signature + 4, &w.c, 4);
	memcpy(signature + 8, &w.d, 4);
	return !strcmp(signature, "TCGTCGTCGTCG");
}

/* Of a loop of two instructions, PASSES times. */
static uint64_t loop_ns(void)
{
	struct timespec from, to;
	uint64_t passes = PASSES;

	clock_gettime(CLOCK_MONOTONIC, &from);
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(passes));
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
}

/* No emulation tells. The best of a few tries has next to no interrupts in it. */
static bool counts_instructions(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t ns = loop_ns();

		best = ns < best ? ns : best;
	}
	return best >= 2 * PASSES * 99 / 100 && best <= 2 * PASSES * 101 / 100;
}

static void read_clock(const char *root, bool emulated, char *clock, size_t size)
{
	char source[32];

	read_value(root, "/sys/devices/system/clocksource/clocksource0/current_clocksource", "", source, sizeof(source));
	if (emulated && counts_instructions())
		snprintf(clock, size, "%.8s, " COLUMN_CLOCK_OF_INSTRUCTIONS, source);
	else
		snprintf(clock, size, "%s", source);
}

void column_describe(struct column *c, const struct mmu_ops *mmu, const struct program *p, const char *root)
{
	const char *where;

	snprintf(c->mmu, sizeof(c->mmu), "%s", mmu->name);
	snprintf(c->host_mmu, sizeof(c->host_mmu), "%s", p->host_mmu);
	snprintf(c->host_words, sizeof(c->host_words), "%s", p->host_mmu_words);
	read_value(root, "/proc/cpuinfo", "model name", c->cpu, sizeof(c->cpu));
	read_value(root, "/proc/sys/kernel/osrelease", "", c->kernel, sizeof(c->kernel));
	c->nested = p->host_mmu_nested;
	c->ring0_interpreted = p->host_ring0_interpreted;
	c->emulated = is_emulated();
	read_clock(root, c->emulated, c->clocksource, sizeof(c->clocksource));
	c->tlb_reach = column_tlb_reach(&where);
}

/* The family as its maker counts it: APM vol. 3, CPUID 1. */
static uint32_t family(struct cpuid_words (*cpuid)(uint32_t, uint32_t))
{
	uint32_t a = cpuid(1, 0).a, base = a >> 8 & 0xf;

	return base == 0xf ? base + (a >> 20 & 0xff) : base;
}

/*
 * The second-level data TLB for 4 KiB pages; 0 where it is off, or the leaf is another vendor's. From family 0x1a on it is
 * counted in 32s, and a bit says so, which hypervisors do not all pass on.
 */
static uint32_t amd_entries(struct cpuid_words (*cpuid)(uint32_t, uint32_t))
{
	uint32_t b = cpuid(LEAF_AMD_TLB, 0).b, entries = b >> 28 ? b >> 16 & 0xfff : 0;
	bool by_32 = (cpuid(LEAF_AMD_FEATURES, 0).a & L2_TLB_SIZE_X32) || family(cpuid) >= FAMILY_X32;

	return by_32 ? entries * 32 : entries;
}

/* The largest of those that hold translations of 4 KiB pages for loads. */
static uint32_t leaf_18_entries(struct cpuid_words (*cpuid)(uint32_t, uint32_t))
{
	uint32_t most = 0, last = cpuid(LEAF_TLB, 0).a;

	for (uint32_t i = 0; i <= last && i < MAX_SUBLEAVES; i++) {
		struct cpuid_words w = cpuid(LEAF_TLB, i);
		uint32_t kind = w.d & 0x1f, ways = w.b >> 16;

		if ((kind != TLB_DATA && kind != TLB_UNIFIED && kind != TLB_LOAD) || !(w.b & 1))
			continue;
		if (ways && w.c <= UINT32_MAX / ways && ways * w.c > most)
			most = ways * w.c;
	}
	return most;
}

uint64_t column_tlb_reach_of(struct cpuid_words (*cpuid)(uint32_t leaf, uint32_t subleaf), const char **where)
{
	uint32_t entries = leaf_18_entries(cpuid);

	*where = "CPUID 0x18";
	if (!entries) {
		entries = amd_entries(cpuid);
		*where = "CPUID 0x80000006";
	}
	if (!entries) {
		entries = ASSUMED_ENTRIES;
		*where = "assumed";
	}
	return entries * PAGE;
}

uint64_t column_tlb_reach(const char **where)
{
	return column_tlb_reach_of(host_cpuid, where);
}
