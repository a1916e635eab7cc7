/*
 * The CPU model: what CPUID tells a guest, frozen at launch, the same in both MMU modes and on every host that can run it.
 * No model has an APIC or MTRRs, which this machine lacks, or RDRAND, which cannot be reproduced.
 *
 *	base	x86-64 with CMPXCHG16B, NX, and UMIP where the host has it: runs everywhere (default)
 *	v2	adds SSE3 to SSE4.2, POPCNT and SMEP
 *	notsc	base without the time-stamp counter, which cannot be reproduced either: a guest that asks first does without
 */
#pragma once

#include <stdint.h>

struct kvm_cpuid2;

#define CPU_MODEL_MAX_FEATURES 64u

enum cpu_model { CPU_MODEL_BASE, CPU_MODEL_V2, CPU_MODEL_NOTSC };

/* "base", "v2", "notsc" -> enum cpu_model. Returns 0, or -EINVAL (not logged) for another name. */
int cpu_model_parse(const char *name, enum cpu_model *model);

/* Name of a feature of the model that the host lacks, NULL = the model runs here. Does not log. */
const char *cpu_model_lacks(enum cpu_model model, const struct kvm_cpuid2 *supported);

/*
 * Builds the CPUID table of the model. `supported` is what KVM_GET_SUPPORTED_CPUID said. *table is the caller's to
 * free(); *facts gets the ABI_CPU_* bits. A host that lacks a feature of the model is a logged -ENOTSUP that names it.
 */
int cpu_model_create(enum cpu_model model, const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table,
		     uint32_t *facts);

/* The features of a table by their names, in an order that does not change: what makes one model another is here. */
struct cpu_features {
	unsigned int count;
	const char *name[CPU_MODEL_MAX_FEATURES];
};

void cpu_model_features(const struct kvm_cpuid2 *table, struct cpu_features *features);

/*
 * The same table again, on whatever host: no feature more and none less. The names may be anybody's. A feature that this
 * host's KVM does not offer, or that no model has, is a logged -ENOTSUP that names it.
 */
int cpu_model_recreate(const struct cpu_features *features, const struct kvm_cpuid2 *supported,
		       struct kvm_cpuid2 **table, uint32_t *facts);
