/*
 * Checksums of a snapshot: XXH3 of 64 bits for pages and chunks, of 128 bits for whole files. They find what a disk, a copy or
 * a hand has changed by accident; they are no protection against somebody who makes a snapshot to do harm.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

struct checksum128 {
	uint8_t byte[16];
};

static inline uint64_t checksum64(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}

static inline struct checksum128 checksum128_of(XXH128_hash_t hash)
{
	XXH128_canonical_t canonical;
	struct checksum128 c;

	XXH128_canonicalFromHash(&canonical, hash);
	memcpy(c.byte, canonical.digest, sizeof(c.byte));
	return c;
}

static inline struct checksum128 checksum128(const void *bytes, size_t size)
{
	return checksum128_of(XXH3_128bits(bytes, size));
}
