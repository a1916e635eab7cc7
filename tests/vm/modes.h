/*
 * The MMU modes of the program. A test that runs guests is run once for each: PENUMBRA_MMU in the environment names the
 * mode in which its guests start (unset: ept), unless a command line says --mmu itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const mmu_modes[] = {"ept", "shadow"};

#define MMU_MODES (sizeof(mmu_modes) / sizeof(*mmu_modes))

/* NULL: the program's default. */
static inline const char *mmu_of_test(void)
{
	return getenv("PENUMBRA_MMU");
}

static inline bool mmu_is_shadow(void)
{
	return mmu_of_test() && !strcmp(mmu_of_test(), "shadow");
}
