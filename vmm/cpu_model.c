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

#define IN(model) (1u << (model))
#define IN_ALL (IN(CPU_MODEL_BASE) | IN(CPU_MODEL_V2) | IN(CPU_MODEL_NOTSC))
#define IN_V2 IN(CPU_MODEL_V2)
#define IN_TSC (IN_ALL & ~IN(CPU_MODEL_NOTSC))
#define OPTIONAL (1u << 31) /* told where the host has it, in all models */

struct feature {
	const char *name;
	uint32_t leaf;
	enum reg reg;
	uint8_t bit;
	unsigned int models; /* that have it: IN_... */
	uint32_t fact; /* ABI_CPU_* bit that tells guests of it */
};

static const struct feature features[] = {
	{"fpu", 0x1, EDX, 0, IN_ALL, 0},
	{"de", 0x1, EDX, 2, IN_ALL, 0},
	{"pse", 0x1, EDX, 3, IN_ALL, 0},
	{"tsc", 0x1, EDX, 4, IN_TSC, 0},
	{"msr", 0x1, EDX, 5, IN_ALL, 0},
	{"pae", 0x1, EDX, 6, IN_ALL, 0},
	{"cx8", 0x1, EDX, 8, IN_ALL, 0},
	{"sep", 0x1, EDX, 11, IN_ALL, 0},
	{"pge", 0x1, EDX, 13, IN_ALL, 0},
	{"cmov", 0x1, EDX, 15, IN_ALL, 0},
	{"pat", 0x1, EDX, 16, IN_ALL, 0},
	{"pse36", 0x1, EDX, 17, IN_ALL, 0},
	{"clflush", 0x1, EDX, 19, IN_ALL, 0},
	{"mmx", 0x1, EDX, 23, IN_ALL, 0},
	{"fxsr", 0x1, EDX, 24, IN_ALL, 0},
	{"sse", 0x1, EDX, 25, IN_ALL, 0},
	{"sse2", 0x1, EDX, 26, IN_ALL, 0},
	{"cx16", 0x1, ECX, 13, IN_ALL, 0},
	{"umip", 0x7, ECX, 2, OPTIONAL, ABI_CPU_UMIP},
	{"syscall", 0x80000001, EDX, 11, IN_ALL, 0},
	{"nx", 0x80000001, EDX, 20, IN_ALL, ABI_CPU_NX},
	{"lm", 0x80000001, EDX, 29, IN_ALL, 0},
	{"lahf_lm", 0x80000001, ECX, 0, IN_ALL, 0},
	{"sse3", 0x1, ECX, 0, IN_V2, 0},
	{"ssse3", 0x1, ECX, 9, IN_V2, 0},
	{"sse4_1", 0x1, ECX, 19, IN_V2, 0},
	{"sse4_2", 0x1, ECX, 20, IN_V2, 0},
	{"popcnt", 0x1, ECX, 23, IN_V2, 0},
	{"smep", 0x7, EBX, 7, IN_V2, ABI_CPU_SMEP},
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

_Static_assert(FEATURE_COUNT <= CPU_MODEL_MAX_FEATURES, "struct cpu_features has room for all");

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
	static const char *const names[] = {[CPU_MODEL_BASE] = "base", [CPU_MODEL_V2] = "v2",
					     [CPU_MODEL_NOTSC] = "notsc"};

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

		if ((f->models & IN(model)) && !has(supported, f))
			return f->name;
	}
	return NULL;
}

static struct kvm_cpuid2 *bare_table(void)
{
	struct kvm_cpuid2 *t = calloc(1, sizeof(*t) + sizeof(leaves));

	if (!t)
		return NULL;
	t->nent = LEAF_COUNT;
	memcpy(t->entries, leaves, sizeof(leaves));
	return t;
}

int cpu_model_create(enum cpu_model model, const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table,
		     uint32_t *facts)
{
	const char *missing = cpu_model_lacks(model, supported);
	struct kvm_cpuid2 *t;

	if (missing)
		return log_bad(ENOTSUP, "CPU model: this host's KVM offers no %s%s", missing,
			       model == CPU_MODEL_V2 ? "; try --cpu=base" : "");
	t = bare_table();
	if (!t)
		return log_errno(ENOMEM, "CPU model");
	*facts = 0;
	for (size_t i = 0; i < FEATURE_COUNT; i++)
		if ((features[i].models & (IN(model) | OPTIONAL)) && has(supported, &features[i]))
			add_feature(t, &features[i], facts);
	*table = t;
	return 0;
}

void cpu_model_features(const struct kvm_cpuid2 *table, struct cpu_features *f)
{
	f->count = 0;
	for (size_t i = 0; i < FEATURE_COUNT; i++)
		if (has(table, &features[i]))
			f->name[f->count++] = features[i].name;
}

static const struct feature *find_feature(const char *name)
{
	for (size_t i = 0; i < FEATURE_COUNT; i++)
		if (!strcmp(features[i].name, name))
			return &features[i];
	return NULL;
}

static int add_named(struct kvm_cpuid2 *t, const char *name, const struct kvm_cpuid2 *supported, uint32_t *facts)
{
	const struct feature *f = find_feature(name);

	if (!f)
		return log_bad(ENOTSUP, "CPU model: no feature is called `%s`", name);
	if (!has(supported, f))
		return log_bad(ENOTSUP, "CPU model: this host's KVM offers no %s", name);
	add_feature(t, f, facts);
	return 0;
}

int cpu_model_recreate(const struct cpu_features *f, const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table,
		       uint32_t *facts)
{
	struct kvm_cpuid2 *t = bare_table();
	int r = t ? 0 : log_errno(ENOMEM, "CPU model");

	*facts = 0;
	for (unsigned int i = 0; i < f->count && r == 0; i++)
		r = add_named(t, f->name[i], supported, facts);
	if (r < 0) {
		free(t);
		return r;
	}
	*table = t;
	return 0;
}
