/* The operations of ring 0 of the image mmucost, and what they are made of. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/trap.h"
#include "guest/lib/mmucost.h"

#define WINDOW MMUCOST_WINDOW

/* What is done between two marks. set_up and right may be NULL. */
struct operation {
	const char *name;
	void (*set_up)(uint64_t count); /* prepares, and goes every way once that the work will go again */
	void (*run)(uint64_t count);
	bool (*right)(uint64_t count); /* did all of it have its effect? */
};

/* Each ends with an operation without a name. */
extern const struct operation cpu_operations[], table_operations[], space_operations[];

void mark(uint32_t value);
/* What ring 3 asks for by int3 (mmucost.h of guest/lib). */
void answer_request(struct trap_frame *frame);

/* A page of zeros; there is one, or the guest ends. */
uint64_t new_page(void);
/* The entry of `gva` at `level` in the tables at `root`; tables on the way are made. */
uint64_t *entry_at(uint64_t root, uint64_t gva, unsigned int level);
/* A page that knows its number, at `gva`. */
void map_numbered(uint64_t root, uint64_t gva, uint64_t number, uint64_t flags);
uint64_t number_at(uint64_t gva);

static inline uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}
