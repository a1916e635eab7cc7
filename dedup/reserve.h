/*
 * A range of addresses that stays where it is while the memory behind it comes and goes. It is one mapping, or two: what may be used
 * and what may not yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reserve {
	uint8_t *base;
	uint64_t size, usable; /* bytes; the usable ones come first */
};

/* For up to `size` bytes, none of them usable. Returns 0, or -errno, which is logged. */
int reserve_init(struct reserve *r, uint64_t size);
void reserve_destroy(struct reserve *r);

/* Makes the first `end` bytes usable; they are zero at first. Returns false if there is no room or no memory, and nothing has changed. */
bool reserve_use(struct reserve *r, uint64_t end);

/* Gives the memory of whole pages back to the host. They stay usable; what is in them is lost. */
void reserve_give_back(struct reserve *r, uint64_t at, uint64_t bytes);
