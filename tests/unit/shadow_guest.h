/*
 * A guest of one struct cpu_state, some RAM and page tables, for tests of what works on guest memory: no KVM. What goes to
 * devices and what is stored is written down.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shadow/gmem.h"
#include "vmm/access.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/walk.h"

#define GUEST_RAM (4ull << 20)
#define GUEST_DEVICE 0xfed00000ull /* any gpa that is not RAM */
#define GUEST_LOG 512

struct guest {
	struct mem ram;
	struct cpu_state cs;
	struct gmem gmem;
	uint64_t next_table; /* gpa of the next free page for tables; they lie from 1 MiB to 2 MiB */

	struct access access[GUEST_LOG]; /* as completed, in order */
	unsigned int accesses;
	unsigned int end_at; /* the access that ends the VM, from 1; 0 = none */
	uint64_t device_seed; /* what reads answer: guest_device_value() */

	struct {
		uint64_t gpa, size;
	} stored[GUEST_LOG];
	unsigned int stores;
};

/* 64-bit mode, paging with NX and WP on, CPL 3, nothing mapped. */
void guest_create(struct guest *g);
void guest_destroy(struct guest *g);

void guest_set_cpl(struct guest *g, unsigned int cpl);

/* Maps one page. flags: PTE bits besides the address; the tables above allow everything. */
void guest_map(struct guest *g, uint64_t gva, uint64_t gpa, uint64_t flags);

/* The entry that a walk for gva meets at a level; there must be one. */
uint64_t *guest_entry(struct guest *g, uint64_t gva, int level);

/* Clears A and D in all entries, and forgets what was written down. */
void guest_forget(struct guest *g);

/* RAM behind gpa. */
uint8_t *guest_ram(struct guest *g, uint64_t gpa);

/* What the device answers to a read: its value depends on address and size, so that a wrong one shows. */
uint64_t guest_device_value(const struct guest *g, uint64_t addr, unsigned int size);
