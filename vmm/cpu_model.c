#include "vmm/cpu_model.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/log.h"

/*
 * Leaves and bits: AMD APM vol. 3, appendix E; Intel SDM vol. 2, CPUID. Family 15, model 107, stepping 1 is the plain
 * K8 that other monitors show as well: guests apply no errata of newer chips to it.
 */
#define SIGNATURE 0x00060fb1u
#define VENDOR_B 0x68747541u /* "Auth" */
#define VENDOR_D 0x69746e65u /* "enti" */
#define VENDOR_C 0x444d4163u /* "cAMD" */

enum reg { EAX, EBX, ECX, EDX };

#define OPTIONAL (-1) /* told where the host has it */

struct feature {
	const char *name;
	uint32_t leaf;
	enum reg reg;
	uint8_t bit;
	int since;     /* enum cpu_model of the first model that has it, or OPTIONAL */
	uint32_t fact; /* ABI_CPU_* bit that tells guests of it */
};

static const struct feature features[] = {
	{"fpu", 0x1, EDX, 0, CPU_MODEL_BASE, 0},
	{"de", 0x1, EDX, 2, CPU_MODEL_BASE, 0},
	{"pse", 0x1, EDX, 3, CPU_MODEL_BASE, 0},
	{"tsc", 0x1, EDX, 4, CPU_MODEL_BASE, 0},
	{"msr", 0x1, EDX, 5, CPU_MODEL_BASE, 0},
	{"pae", 0x1, EDX, 6, CPU_MODEL_BASE, 0},
	{"cx8", 0x1, EDX, 8, CPU_MODEL_BASE, 0},
	{"sep", 0x1, EDX, 11, CPU_MODEL_BASE, 0},
	{"pge", 0x1, EDX, 13, CPU_MODEL_BASE, 0},
	{"cmov", 0x1, EDX, 15, CPU_MODEL_BASE, 0},
	{"pat", 0x1, EDX, 16, CPU_MODEL_BASE, 0},
	{"pse36", 0x1, EDX, 17, CPU_MODEL_BASE, 0},
	{"clflush", 0x1, EDX, 19, CPU_MODEL_BASE, 0},
	{"mmx", 0x1, EDX, 23, CPU_MODEL_BASE, 0},
	{"fxsr", 0x1, EDX, 24, CPU_MODEL_BASE, 0},
	{"sse", 0x1, EDX, 25, CPU_MODEL_BASE, 0},
	{"sse2", 0x1, EDX, 26, CPU_MODEL_BASE, 0},
	{"cx16", 0x1, ECX, 13, CPU_MODEL_BASE, 0},
	{"umip", 0x7, ECX, 2, OPTIONAL, ABI_CPU_UMIP},
	{"syscall", 0x80000001, EDX, 11, CPU_MODEL_BASE, 0},
	{"nx", 0x80000001, EDX, 20, CPU_MODEL_BASE, ABI_CPU_NX},
	{"lm", 0x80000001, EDX, 29, CPU_MODEL_BASE, 0},
	{"lahf_lm", 0x80000001, ECX, 0, CPU_MODEL_BASE, 0},
	{"sse3", 0x1, ECX, 0, CPU_MODEL_V2, 0},
	{"ssse3", 0x1, ECX, 9, CPU_MODEL_V2, 0},
	{"sse4_1", 0x1, ECX, 19, CPU_MODEL_V2, 0},
	{"sse4_2", 0x1, ECX, 20, CPU_MODEL_V2, 0},
	{"popcnt", 0x1, ECX, 23, CPU_MODEL_V2, 0},
	{"smep", 0x7, EBX, 7, CPU_MODEL_V2, ABI_CPU_SMEP},
};

static const struct kvm_cpuid_entry2 leaves[] = {
	{.function = 0x0, .eax = 0x7, .ebx = VENDOR_B, .ecx = VENDOR_C, .edx = VENDOR_D},
	/* ebx: clflush of 64 bytes, one logical CPU; ecx: running under a hypervisor */
	{.function = 0x1, .eax = SIGNATURE, .ebx = 0x00010800, .ecx = 1u << 31},
	{.function = 0x7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX},
	{.function = 0x40000000, .eax = 0x40000000, .ebx = 0x756e6550, .ecx = 0x6172626d, .edx = 0}, /* "Penumbra" */
	{.function = 0x80000000, .eax = 0x80000008, .ebx = VENDOR_B, .ecx = VENDOR_C, .edx = VENDOR_D},
	{.function = 0x80000001, .eax = SIGNATURE},
	{.function = 0x80000002, .eax = 0x756e6550, .ebx = 0x6172626d, .ecx = 0x55504320}, /* "Penumbra CPU" */
	{.function = 0x80000003},
	{.function = 0x80000004},
	{.function = 0x80000008, .eax = 0x3028}, /* 40 physical, 48 virtual address bits */
};

#define LEAF_COUNT (sizeof(leaves) / sizeof(*leaves))
#define FEATURE_COUNT (sizeof(features) / sizeof(*features))

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid_entry2 *entries, size_t n, uint32_t leaf)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].function == leaf && entries[i].index == 0)
			return &entries[i];
	return NULL;
}

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum reg reg)
{
	uint32_t *regs[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	return regs[reg];
}

static bool has(const struct kvm_cpuid2 *supported, const struct feature *f)
{
	const struct kvm_cpuid_entry2 *e = find(supported->entries, supported->nent, f->leaf);
	struct kvm_cpuid_entry2 copy;

	if (!e)
		return false;
	copy = *e;
	return *reg_of(&copy, f->reg) >> f->bit & 1;
}

int cpu_model_parse(const char *name, enum cpu_model *model)
{
	static const char *const names[] = {[CPU_MODEL_BASE] = "base", [CPU_MODEL_V2] = "v2"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], name)) {
			*model = (enum cpu_model)i;
			return 0;
		}
	return -EINVAL;
}

static void add_feature(struct kvm_cpuid2 *t, const struct feature *f, uint32_t *facts)
{
	const struct kvm_cpuid_entry2 *e = find(leaves, LEAF_COUNT, f->leaf);

	*reg_of(&t->entries[e - leaves], f->reg) |= 1u << f->bit;
	*facts |= f->fact;
}

const char *cpu_model_lacks(enum cpu_model model, const struct kvm_cpuid2 *supported)
{
	for (size_t i = 0; i < FEATURE_COUNT; i++) {
		const struct feature *f = &features[i];

		if (f->since != OPTIONAL && f->since <= (int)model && !has(supported, f))
			return f->name;
	}
	return NULL;
}

int cpu_model_create(enum cpu_model model, const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table,
		     uint32_t *facts)
{
	const char *missing = cpu_model_lacks(model, supported);
	struct kvm_cpuid2 *t;

	if (missing)
		return log_bad(ENOTSUP, "CPU model: this host's KVM offers no %s", missing);
	t = calloc(1, sizeof(*t) + sizeof(leaves));
	if (!t)
		return log_errno(ENOMEM, "CPU model");
	t->nent = LEAF_COUNT;
	memcpy(t->entries, leaves, sizeof(leaves));
	*facts = 0;
	for (size_t i = 0; i < FEATURE_COUNT; i++)
		if (features[i].since <= (int)model && has(supported, &features[i]))
			add_feature(t, &features[i], facts);
	*table = t;
	return 0;
}
