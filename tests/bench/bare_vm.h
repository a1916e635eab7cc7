/*
 * The floor of a guest in a program that has others already: what KVM itself takes for one more.
 */
#pragma once

#include <stdint.h>

struct kvm;

/*
 * Makes a VM with so many bytes of RAM and a vCPU that shows all that KVM supports, runs it to a HLT, and takes it apart: µs.
 * One that cannot be made ends the benchmark.
 */
double bare_vm_us(const struct kvm *k, uint64_t ram);
