/*
 * Puts the checksums of a state file right again after a test has changed its bytes, by docs/snapshot-format.md alone: what is
 * refused then is refused for what it says.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#define MEND_HEADER 80u
#define MEND_WHOLE 16u

static inline uint64_t mend_u64(const uint8_t *at)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | at[i];
	return v;
}

static inline void mend_put(uint8_t *at, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

/* Where the chunk behind the one at `at` starts, or 0 where its length leads out of the file. */
static inline size_t mend_next(const uint8_t *bytes, size_t size, size_t at)
{
	uint64_t length;

	if (at + 24 > size - MEND_WHOLE)
		return 0;
	length = mend_u64(bytes + at + 8);
	return length > size - MEND_WHOLE - at - 24 ? 0 : at + 24 + length;
}

static inline void mend(uint8_t *bytes, size_t size)
{
	XXH128_canonical_t whole;

	if (size < MEND_HEADER + MEND_WHOLE)
		return;
	mend_put(bytes + 16, size);
	mend_put(bytes + MEND_HEADER - 8, XXH3_64bits(bytes, MEND_HEADER - 8));
	for (size_t at = MEND_HEADER, next; (next = mend_next(bytes, size, at)); at = next)
		mend_put(bytes + next - 8, XXH3_64bits(bytes + at, next - 8 - at));
	XXH128_canonicalFromHash(&whole, XXH3_128bits(bytes, size - MEND_WHOLE));
	memcpy(bytes + size - MEND_WHOLE, whole.digest, MEND_WHOLE);
}
