/*
 * The hash of a page for processors that have AVX2, which the library's static copy does not look for: XXH3's 64 bits, the same as
 * XXH3_64bits() makes, in a quarter of the time.
 */
#pragma once

#include <stdint.h>

uint64_t hash_avx2(const void *page);
