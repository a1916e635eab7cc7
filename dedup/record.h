/*
 * What the scavenger knows of one guest page, in 8 bytes: its kind, and where its bytes are or what their hash was.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum page_kind {
	PAGE_UNKNOWN,	 /* resident; not looked at since it was written */
	PAGE_UNIQUE,	 /* resident; looked at: nothing is equal. Its hash is known, and it is in the indexes */
	PAGE_DENSE,	 /* the same, and nothing makes it smaller */
	PAGE_ZERO,	 /* the host's zero page, until it is written */
	PAGE_SHARED,	 /* a slot of the pool, until it is written */
	PAGE_COLD_SAME,	 /* absent; the same as a slot of the pool */
	PAGE_COLD_DELTA, /* absent; an object in the store says what differs from a slot of the pool */
	PAGE_COLD_ALONE, /* absent; an object in the store is the page, compressed */
	PAGE_KINDS
};

#define RECORD_SLOT_BITS 29u

/* kind | slot | object or hash, from the top. */
typedef uint64_t page_record;

static inline page_record record_make(enum page_kind kind, uint32_t slot, uint32_t low)
{
	return (uint64_t)kind << (32 + RECORD_SLOT_BITS) | (uint64_t)slot << 32 | low;
}

static inline enum page_kind record_kind(page_record r)
{
	return (enum page_kind)(r >> (32 + RECORD_SLOT_BITS));
}

static inline uint32_t record_slot(page_record r)
{
	return (uint32_t)(r >> 32) & ((1u << RECORD_SLOT_BITS) - 1);
}

static inline uint32_t record_object(page_record r)
{
	return (uint32_t)r;
}

static inline uint32_t record_hash(page_record r)
{
	return (uint32_t)r;
}

static inline bool kind_has_slot(enum page_kind k)
{
	return k == PAGE_SHARED || k == PAGE_COLD_SAME || k == PAGE_COLD_DELTA;
}

static inline bool kind_has_object(enum page_kind k)
{
	return k == PAGE_COLD_DELTA || k == PAGE_COLD_ALONE;
}

static inline bool kind_is_cold(enum page_kind k)
{
	return k >= PAGE_COLD_SAME;
}

/* Resident bytes of its own, which another page may turn out to be equal to. */
static inline bool kind_has_hash(enum page_kind k)
{
	return k == PAGE_UNIQUE || k == PAGE_DENSE;
}
