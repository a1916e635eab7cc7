/*
 * The bus: which device answers at which port or gpa. Devices are touched by the vCPU's thread only, so they need no
 * locks; whatever comes from other threads is posted to that thread first (vcpu.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/access.h"

struct state;

/* What the machine needs from every device. A device embeds this as its first member. */
struct device {
	const char *name;

	/* A device of 8-bit registers, as on ISA: the bus splits wider accesses into bytes, lowest address first. */
	bool byte_wide;

	/*
	 * Answers one access inside a range the device claimed; a->addr is the offset in that range and a->size is 1..8.
	 * `range` is the number given to bus_claim(). A read fills a->value, zero above a->size bytes.
	 */
	void (*access)(struct device *d, unsigned int range, struct access *a);

	/* Whether what happens at that offset of a range depends on the time, or tells it; NULL = nothing does. */
	bool (*timed)(const struct device *d, unsigned int range, uint64_t offset);

	/* Back to the state after power-on. */
	void (*reset)(struct device *d);

	/* Saves or loads the whole state; see state.h. */
	void (*visit)(struct device *d, struct state *s);
};

#define BUS_MAX_RANGES 32
#define BUS_MAX_DEVICES 20

enum bus_space { BUS_PORT, BUS_MMIO };

struct bus_range {
	enum bus_space space;
	uint64_t base, size;
	struct device *device;
	unsigned int range;
};

struct bus {
	struct bus_range ranges[BUS_MAX_RANGES];
	unsigned int range_count;
	struct device *devices[BUS_MAX_DEVICES]; /* in the order they were added: the order of reset and visit */
	unsigned int device_count;
};

void bus_init(struct bus *b);

/* Adds a device; it must outlive the bus. */
void bus_add(struct bus *b, struct device *d);

/* Lets d answer at [base, base + size). Ranges may not overlap (our bug). */
void bus_claim(struct bus *b, struct device *d, enum bus_space space, uint64_t base, uint64_t size, unsigned int range);

/* The range that holds every byte of [addr, addr + size), or NULL. */
const struct bus_range *bus_find(const struct bus *b, enum bus_space space, uint64_t addr, uint64_t size);

/*
 * Lets the owner of a->addr answer; without one a read gives all ones and a write is dropped. An access that no range
 * holds whole is split into bytes, each for its own owner.
 */
void bus_access(struct bus *b, struct access *a);

/* Whether the clock has to be right before that access is answered. */
bool bus_is_timed(const struct bus *b, const struct access *a);

void bus_reset(struct bus *b);

/* Saves or loads every device. When a load fails (s->error), all devices are left reset. */
void bus_visit(struct bus *b, struct state *s);
