/*
 * Finds what is equal to a page, byte for byte. Scavenging thread only, not under the group's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ward;

enum equal_kind { EQUAL_NONE, EQUAL_SLOT, EQUAL_PAGE };

struct equal {
	enum equal_kind kind;
	uint32_t slot;	   /* of the pool; it is needed once more now, for who asked */
	struct ward *ward; /* or a resident page, which may change at any time */
	uint64_t page;
};

/* XXH3's 64 bits (xxhash.com), of which 32 are kept. */
uint32_t equal_hash(const void *page);

bool equal_is_zero(const void *page);

/* `bytes` is what the page holds, or held when it was looked at, `hash` its hash. */
struct equal equal_find(struct ward *w, uint64_t page, const void *bytes, uint32_t hash);

/*
 * The same of a page that has just become idle: where nothing is equal it is PAGE_UNIQUE from now on, and what is found under its hash,
 * unless something else is.
 */
struct equal equal_find_or_note(struct ward *w, uint64_t page, const void *bytes, uint32_t hash);

/*
 * Slots that get the bytes of n pages, each needed once, which are found from now on under these hashes. A page that is being written
 * makes a slot that nothing is equal to. Returns the first, or POOL_NONE.
 */
uint32_t equal_share(struct ward *w, const void *pages, unsigned int n, const uint32_t *hash);
