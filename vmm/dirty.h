/*
 * Which guest pages were written: KVM's dirty log for guest stores and the door of mem.h for the VMM's own, together.
 *
 * Each consumer has an epoch of its own: it learns of every page written since it last took its set, whatever others take
 * in between. Invariants:
 *
 * 1. A bit leaves KVM's log only by being put into the set of every consumer.
 * 2. A page written while a set is being taken is in that set or in the next one, never in none.
 * 3. A set that was taken but could not be used is given back, and nothing is lost.
 *
 * vCPU's thread only. Logging costs guests a fault per page and epoch; it is on while there is a consumer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/mem.h"

struct slots;

/* One bit a page of RAM, regions one after the other, each region's part starting at a new word. */
struct dirty_set {
	uint64_t *words;
};

struct dirty_consumer {
	struct dirty_set pending;
	struct dirty_consumer *next;
};

struct dirty {
	struct mem *mem;
	struct slots *slots;
	struct mem_listener listener;
	struct dirty_consumer *consumers;
	uint64_t *scratch; /* one set's worth, for KVM's answer */
};

/* No consumer yet, nothing logged. slots may be NULL: then only the door is watched. */
void dirty_init(struct dirty *d, struct mem *m, struct slots *slots);
void dirty_destroy(struct dirty *d);

/* Starts an epoch for c: its set is empty from now on. Returns 0 or a logged -errno. */
int dirty_begin(struct dirty *d, struct dirty_consumer *c);
void dirty_end(struct dirty *d, struct dirty_consumer *c);

/* An empty set of the right size; free with dirty_set_free(). Returns 0 or a logged -ENOMEM. */
int dirty_set_alloc(const struct dirty *d, struct dirty_set *set);
void dirty_set_free(struct dirty_set *set);

/* Puts into *set (overwritten) all pages written since c's last take, and starts c's next epoch. 0 or a logged -errno. */
int dirty_take(struct dirty *d, struct dirty_consumer *c, struct dirty_set *set);

/* The set could not be used: its pages count as written in c's running epoch. */
void dirty_give_back(struct dirty *d, struct dirty_consumer *c, const struct dirty_set *set);

/* These whole pages of one region do not count as written in c's running epoch, as far as is known by now: their bytes are known to c. */
void dirty_drop(struct dirty *d, struct dirty_consumer *c, uint64_t gpa, uint64_t size);

/* Takes over what KVM's log holds at the moment, which is about to be lost (slots_forget()). 0 or a logged -errno. */
int dirty_settle(struct dirty *d);

/* The part of region n of RAM: bit i of word w is page 64 w + i. */
const uint64_t *dirty_words(const struct dirty *d, const struct dirty_set *set, unsigned int n);

/* Calls `found` for every range of one region whose pages are in the set, ascending, as long as it returns 0; returns what it did. */
int dirty_walk(const struct dirty *d, const struct dirty_set *set, int (*found)(void *arg, uint64_t gpa, uint64_t size), void *arg);

/* Number of pages in the set. */
uint64_t dirty_count(const struct dirty *d, const struct dirty_set *set);
