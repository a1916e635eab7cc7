/*
 * The CPU model: what CPUID tells every guest, the same in both MMU modes and on every host that can run it. It is
 * x86-64-v2 without the parts this machine does not have (APIC, MTRR) or must not have to be reproducible (RDRAND).
 */
#pragma once

#include <stdint.h>

struct kvm_cpuid2;

/*
 * Builds the CPUID table from the model and what the host supports (KVM_GET_SUPPORTED_CPUID). *table is the caller's to
 * free(); *facts gets the ABI_CPU_* bits. A host that lacks a required feature is a logged -ENOTSUP that names it.
 */
int cpu_model_create(const struct kvm_cpuid2 *supported, struct kvm_cpuid2 **table, uint32_t *facts);
