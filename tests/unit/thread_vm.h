/*
 * A VM without KVM, for guests that are threads: RAM, a mailbox, what was written, and pages that come and go.
 */
#pragma once

#include <stdint.h>

struct vm;

/* *vm is zero. Whatever fails, fails the test. */
void thread_vm_open(struct vm *vm, unsigned int number, uint64_t ram);
void thread_vm_close(struct vm *vm);
