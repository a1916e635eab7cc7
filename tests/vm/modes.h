/* The MMU modes of the program, for tests that run once in each. */
#pragma once

#include <stddef.h>

static const char *const mmu_modes[] = {"ept", "shadow"};

#define MMU_MODES (sizeof(mmu_modes) / sizeof(*mmu_modes))
