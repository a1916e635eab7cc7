/*
 * Guest memory as the hypercalls of a Solo5 unikernel see it: physical addresses are virtual ones, and a call may not do for the
 * unikernel what its pages forbid it.
 */
#pragma once

#include <stdint.h>

#include "vmm/mem.h"

struct image;
struct vm;

/* RAM that the unikernel has: whole large pages of what the VM has. */
uint64_t solo5_ram(uint64_t mem_size);

/*
 * Page-table flags (PTE_W, PTE_NX) of the page at gpa, which is SOLO5_LOAD_MIN or more: as the image's segment there asks, or
 * data that no segment holds.
 */
uint64_t solo5_page_flags(const struct image *im, uint64_t gpa);

/*
 * Guest bytes that hypercall `call` was given, size > 0: host address, or NULL, and the VM is killed for it. Readable is what
 * begins at SOLO5_BOOT_INFO, writable what does at SOLO5_LOAD_MIN, without the image's read-only segments.
 */
void *solo5_reach(struct vm *vm, const char *call, uint64_t gpa, uint64_t size, enum mem_use use);
