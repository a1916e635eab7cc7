/*
 * Whether the guest has written a page over which a pool's page is mapped, and so has a copy of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm;

/* Once true it stays so until something is mapped there again. Where it cannot be told it is false. */
bool own_copy(const struct vm *vm, uint64_t page);
