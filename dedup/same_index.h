/*
 * Finds the page that has a given hash: ids of pages, at most 5.4 bytes for each of the pages it is made for. Only ids are kept;
 * what hash an id has is asked of the owner. So no id is found under a hash that it does not have now, an id whose page has
 * changed need not be taken out, and its place is used again.
 *
 * Buckets of eight ids, two of them for each hash (Azar et al., "Balanced allocations", STOC 1994). When both are full, ids whose
 * page has changed give way, or one goes over to its other bucket (Pagh, Rodler, "Cuckoo hashing", ESA 2001). Beside each id is a
 * byte of its hash, so a hash that is not there is known not to be without a look at any page's record.
 *
 * Ids are the owner's, not 0. Not locked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct same_index;

/*
 * hash_of(): the hash of what id is, now; false: it is nothing to be found any more. It is asked of any id that was ever added.
 * NULL, and -ENOMEM is logged.
 */
struct same_index *same_index_create(uint64_t pages, bool (*hash_of)(void *arg, uint32_t id, uint32_t *hash), void *arg);
void same_index_destroy(struct same_index *x);
uint64_t same_index_bytes(const struct same_index *x);

/*
 * Adds id under its hash, in place of one that has the same. False: it is full there, and id is not in it; that is rare (about
 * one in a thousand) when as many ids have the hash they were added under as it is made for, and does not happen below 85 %.
 */
bool same_index_add(struct same_index *x, uint32_t hash, uint32_t id);

/* What has this hash; 0 = nothing had, and id is added, if there is room. */
uint32_t same_index_find_or_add(struct same_index *x, uint32_t hash, uint32_t id);

/* 0 = none. */
uint32_t same_index_find(const struct same_index *x, uint32_t hash);
