/*
 * The CPU model: what CPUID tells a guest, frozen at launch, the same in both MMU modes and on every host that can run it.
 * No model has an APIC or MTRRs, which this machine lacks, or RDRAND, which cannot be reproduced.
 *
 *	base	x86-64 with CMPXCHG16B, NX, and UMIP where the host has it: runs everywhere (default)
 *	v2	adds SSE3 to SSE4.2, POPCNT and SMEP
 */
#pragma once

#include <stdint.h>

struct kvm_cpuid2;

enum cpu_model { CPU_MODEL_BASE, CPU_MODEL_V2 };

/* "base", "v2" -> enum cpu_model. Returns 0, or -EINVAL (not logged) for another name. */
int cpu_model_parse(const char *name, enum cpu_model *model);

/* Name of a feature of the model that the host lacks, NULL = the model runs here. Does not log. */
const char *cpu_model_lacks(enum cpu_model model, const struct kvm_cpuid2 *supported);

/*
 * Builds the CPUID table of the model. `supported` is what KVM_GET_SUPPORTED_CPUID said. *table is the caller's to
 * free(); *facts gets the ABI_CPU_* bits. A host that lacks a feature of the model is a logged -ENOTSUP that names it.
 */
int cpu_model_create(enum cpu_model model, const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table,
		     uint32_t *facts);
