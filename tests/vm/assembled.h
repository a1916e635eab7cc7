/*
 * A VM whose guest is some bytes of code and a state of the test's making: 64-bit mode, 16 MiB mapped one to one and open to
 * both rings, a GDT, a TSS, and an IDT whose handlers end the guest with the vector as its exit code. Nothing of an image runs.
 */
#pragma once

#include <stdint.h>

#include "tests/vm/inside.h"
#include "vmm/cpu_state.h"
#include "vmm/vm.h"

#define ASSEMBLED_CODE 0x800000ull
#define ASSEMBLED_STACK 0x700000ull	  /* top, of either ring */
#define ASSEMBLED_HANDLER_STACK 0x780000ull /* top, from ring 3 */
#define ASSEMBLED_GDT 0x600000ull
#define ASSEMBLED_GDT_LIMIT 0xffu

/* Selectors of the GDT; everything else in it is free. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_USER_DATA 0x1b
#define SELECTOR_USER_CODE 0x23
#define SELECTOR_TSS 0x40

/* Vectors are below this: an exit code of code that ended by itself. */
#define ASSEMBLED_DONE 0xee

struct assembled {
	struct inside_guest guest;
	struct vm vm;
	struct cpu_state cs; /* to be imported; ring 0, at ASSEMBLED_CODE */
};

/* Makes the VM in the test's mode (modes.h), or in the one given. */
void assembled_open(struct assembled *a, const struct kvm *kvm);
void assembled_open_in(struct assembled *a, const struct kvm *kvm, const struct mmu_ops *mmu);
void assembled_close(struct assembled *a);

/*
 * Puts code at ASSEMBLED_CODE, followed by an OUT that ends the guest with ASSEMBLED_DONE; which ring 3 may not: its code ends
 * with the vector of an exception, or of INT 4.
 */
void assembled_code(struct assembled *a, const uint8_t *code, size_t size);

void assembled_descriptor(struct assembled *a, uint16_t selector, uint64_t raw);

/* In a->cs: ring 3 instead of ring 0. */
void assembled_user(struct assembled *a);

/* Imports a->cs, runs the guest to its end, and takes the state it ended with back into a->cs. */
void assembled_run(struct assembled *a);

/* 8 bytes of RAM. */
uint64_t assembled_peek(struct assembled *a, uint64_t gpa);
void assembled_poke(struct assembled *a, uint64_t gpa, uint64_t value);
