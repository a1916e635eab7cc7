/*
 * Finds the page that has a given hash: ids of pages, at most 5.4 bytes for each of the pages it is made for. Only ids are kept; what hash an id has is
 * asked of the owner, so an id whose page has changed since is found under neither its old hash nor, until it is added again, its
 * new one, and its place is used again.
 *
 * Ids are the owner's, not 0. Not locked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct same_index;

/* hash_of(): the hash of what id is, now; false: it is nothing to be found any more. */
struct same_index *same_index_create(uint64_t pages, bool (*hash_of)(void *arg, uint32_t id, uint32_t *hash), void *arg);
void same_index_destroy(struct same_index *x);
uint64_t same_index_bytes(const struct same_index *x);

/* Adds id under its hash, in place of one that has the same. False: it is full there, and id is not in it. */
bool same_index_add(struct same_index *x, uint32_t hash, uint32_t id);

/* 0 = none. */
uint32_t same_index_find(const struct same_index *x, uint32_t hash);
