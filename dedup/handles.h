/*
 * Names of things that can be moved: a handle stays the same while the place that it stands for changes. Four bytes for each, in pages
 * that go back to the host when no handle of theirs is in use.
 */
#pragma once

#include <stdint.h>

#include "dedup/slab.h"

#define HANDLE_NONE 0u
#define HANDLE_BITS 30

struct handles {
	struct slabs pages;
	uint32_t room; /* list: those that have some */
};

/* For at least so many. Returns 0, or -errno, which is logged. */
int handles_init(struct handles *h, uint64_t most);
void handles_destroy(struct handles *h);
uint64_t handles_bytes(const struct handles *h);

/* HANDLE_NONE: no room or no memory, and nothing has changed. A place has SLAB_VALUE_BITS. */
uint32_t handles_new(struct handles *h, uint32_t place);
void handles_free(struct handles *h, uint32_t handle);

/* The place, to be read and written. That of an unknown handle is our bug. */
uint32_t *handles_place(const struct handles *h, uint32_t handle);
