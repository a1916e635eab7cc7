/*
 * How much a test does of what could be done for ever: less where a guest's time is emulation (the lab, tests/lab), ten
 * times as much in the suite `long`, which sets PENUMBRA_LONG.
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

static inline bool in_lab(void)
{
	return getenv("PENUMBRA_LAB");
}

static inline bool is_long(void)
{
	return getenv("PENUMBRA_LONG");
}

/* So many times on a real machine, so many in the lab. */
static inline unsigned int effort(unsigned int here, unsigned int lab)
{
	return (in_lab() ? lab : here) * (is_long() ? 10 : 1);
}
