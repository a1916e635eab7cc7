/*
 * The CPU model: the same table whatever more a host offers, and a refusal that names what a host lacks.
 */
#include "vmm/cpu_model.h"

#include <check.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "guest/abi.h"
#include "tests/unit/capture.h"
#include "tests/vm/suite.h"

/* A host that offers everything, or everything but one bit. */
static struct kvm_cpuid2 *host(uint32_t leaf, unsigned int reg, unsigned int bit)
{
	static const uint32_t functions[] = { 0, 1, 7, 0xd, 0x80000000, 0x80000001, 0x80000008 };
	unsigned int n = sizeof(functions) / sizeof(*functions);
	struct kvm_cpuid2 *h = calloc(1, sizeof(*h) + n * sizeof(h->entries[0]));

	h->nent = n;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t regs[4] = { ~0u, ~0u, ~0u, ~0u };

		if (functions[i] == leaf)
			regs[reg] &= ~(1u << bit);
		h->entries[i] = (struct kvm_cpuid_entry2){ .function = functions[i], .eax = regs[0], .ebx = regs[1],
							   .ecx = regs[2], .edx = regs[3] };
	}
	return h;
}

static const struct kvm_cpuid_entry2 *leaf_of(const struct kvm_cpuid2 *t, uint32_t leaf)
{
	for (unsigned int i = 0; i < t->nent; i++)
		if (t->entries[i].function == leaf)
			return &t->entries[i];
	ck_abort_msg("no leaf %#x", leaf);
}

/* What no guest may see, whatever the host has: leaf, register, bit. */
START_TEST(hidden_features)
{
	struct kvm_cpuid2 *h = host(0x40, 0, 0), *t;
	uint32_t facts;

	ck_assert_int_eq(cpu_model_create(CPU_MODEL_V2, h, &t, &facts), 0);
	ck_assert_uint_eq(leaf_of(t, 1)->edx & (1u << 9 | 1u << 12), 0);	   /* APIC, MTRR */
	ck_assert_uint_eq(leaf_of(t, 1)->ecx & (1u << 30 | 1u << 26 | 1u << 28), 0); /* RDRAND, XSAVE, AVX */
	ck_assert_uint_eq(leaf_of(t, 1)->ecx & (1u << 17 | 1u << 21 | 1u << 3), 0); /* PCID, x2APIC, MONITOR */
	ck_assert_uint_eq(leaf_of(t, 7)->ebx & (1u << 18 | 1u << 20), 0);	   /* RDSEED, SMAP */
	ck_assert_uint_eq(leaf_of(t, 7)->ecx & (1u << 16), 0);			   /* LA57 */
	ck_assert_uint_eq(leaf_of(t, 0x80000001)->edx & (1u << 26), 0);		   /* 1 GiB pages */
	ck_assert_uint_eq(facts, ABI_CPU_NX | ABI_CPU_SMEP | ABI_CPU_UMIP);
	free(t);
	free(h);
}
END_TEST

START_TEST(base_does_not_depend_on_the_host)
{
	/* Without SSE3, SMEP: what base never shows. */
	struct kvm_cpuid2 *full = host(0x40, 0, 0), *poor = host(7, 1, 7), *a, *b;
	uint32_t facts_a, facts_b;

	poor->entries[1].ecx &= ~1u;
	ck_assert_int_eq(cpu_model_create(CPU_MODEL_BASE, full, &a, &facts_a), 0);
	ck_assert_int_eq(cpu_model_create(CPU_MODEL_BASE, poor, &b, &facts_b), 0);
	ck_assert_uint_eq(facts_a, facts_b);
	ck_assert_uint_eq(a->nent, b->nent);
	ck_assert_mem_eq(a->entries, b->entries, a->nent * sizeof(a->entries[0]));
	free(a);
	free(b);
	free(full);
	free(poor);
}
END_TEST

/* notsc is base but for that bit, on hosts that have much and on hosts that have little. */
START_TEST(notsc_differs_by_one_bit)
{
	struct kvm_cpuid2 *hosts[] = { host(0x40, 0, 0), host(7, 2, 2) }, *a, *b;
	uint32_t facts_a, facts_b;

	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(cpu_model_create(CPU_MODEL_BASE, hosts[i], &a, &facts_a), 0);
		ck_assert_int_eq(cpu_model_create(CPU_MODEL_NOTSC, hosts[i], &b, &facts_b), 0);
		ck_assert_uint_eq(facts_a, facts_b);
		for (unsigned int n = 0; n < a->nent; n++)
			a->entries[n].edx &= a->entries[n].function == 1 ? ~(1u << 4) : ~0u;
		ck_assert_mem_eq(a->entries, b->entries, a->nent * sizeof(a->entries[0]));
		free(a);
		free(b);
		free(hosts[i]);
	}
}
END_TEST

static const struct {
	enum cpu_model model;
	uint32_t leaf;
	unsigned int reg, bit;
	const char *name; /* NULL: the model does without */
} lacking[] = {
	{ CPU_MODEL_BASE, 0x80000001, 3, 29, "lm" },  { CPU_MODEL_BASE, 0x80000001, 3, 20, "nx" },
	{ CPU_MODEL_BASE, 1, 2, 13, "cx16" },	       { CPU_MODEL_BASE, 1, 2, 0, NULL },
	{ CPU_MODEL_V2, 1, 2, 0, "sse3" },	       { CPU_MODEL_V2, 7, 1, 7, "smep" },
	{ CPU_MODEL_BASE, 7, 2, 2, NULL },	       { CPU_MODEL_BASE, 1, 3, 4, "tsc" },
	{ CPU_MODEL_NOTSC, 1, 3, 4, NULL },	       { CPU_MODEL_NOTSC, 1, 2, 0, NULL },
};

START_TEST(a_poor_host_is_refused_by_name)
{
	struct kvm_cpuid2 *h = host(lacking[_i].leaf, lacking[_i].reg, lacking[_i].bit), *t = NULL;
	struct capture said;
	uint32_t facts;
	int r;

	capture_begin(&said);
	r = cpu_model_create(lacking[_i].model, h, &t, &facts);
	capture_end(&said);
	ck_assert_int_eq(r, lacking[_i].name ? -ENOTSUP : 0);
	if (lacking[_i].name)
		assert_one_line(said.text, lacking[_i].name);
	free(t);
	free(h);
}
END_TEST

START_TEST(names)
{
	enum cpu_model m;

	ck_assert_int_eq(cpu_model_parse("base", &m), 0);
	ck_assert_int_eq(m, CPU_MODEL_BASE);
	ck_assert_int_eq(cpu_model_parse("v2", &m), 0);
	ck_assert_int_eq(m, CPU_MODEL_V2);
	ck_assert_int_eq(cpu_model_parse("notsc", &m), 0);
	ck_assert_int_eq(m, CPU_MODEL_NOTSC);
	ck_assert_int_eq(cpu_model_parse("", &m), -EINVAL);
	ck_assert_int_eq(cpu_model_parse("v3", &m), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("cpu_model");

	tcase_add_test(tcase, hidden_features);
	tcase_add_test(tcase, base_does_not_depend_on_the_host);
	tcase_add_test(tcase, notsc_differs_by_one_bit);
	tcase_add_loop_test(tcase, a_poor_host_is_refused_by_name, 0, sizeof(lacking) / sizeof(*lacking));
	tcase_add_test(tcase, names);
	return run_case("cpu_model", tcase);
}
