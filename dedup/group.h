/*
 * A trust group: guests that may share pages, and what they share. Nothing of one group is ever compared with another's.
 *
 * Pages and slots have ids in the group's indexes: a slot's has the top bit, a page's is its ward's `base` and its number.
 *
 * Locks: `lock` is over all of it and over the records of its wards. It is taken under the lock of a guest's userfault (a page was
 * brought), so nobody calls userfault.h or touches guest RAM while holding it. What must stay between two holds of it is needed
 * (pool_need()), or is changed by the scavenging thread alone: wards, indexes, and records of pages that are not cold.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "dedup/pool.h"
#include "dedup/record.h"
#include "dedup/same_index.h"
#include "dedup/similar.h"
#include "dedup/store.h"

#define GROUP_NAME_BYTES 64u
#define ID_IS_SLOT 0x80000000u

struct scavenge_options;
struct ward;

struct group {
	char name[GROUP_NAME_BYTES];
	pthread_mutex_t lock;
	struct pool *pool;
	struct store *store;
	struct same_index *same;
	struct similar *similar;
	uint64_t indexed; /* pages that the indexes are made for */
	uint64_t pages;	  /* of its wards */
	struct ward **ward; /* ascending base */
	unsigned int wards, room;
	uint32_t next_base;
	struct group *next;
};

void group_destroy(struct group *g);

/* The group in the list that the guest of this number belongs to; it is made if there is none yet. NULL, and the error is logged. */
struct group *group_for(struct group **groups, const struct scavenge_options *o, unsigned int number);

/* Gives the ward ids. Returns 0, or -ENOMEM or -ENOSPC (too many pages for ids), logged. */
int group_add(struct group *g, struct ward *w);

/*
 * The scavenging thread, not under the lock: indexes for as many pages as there are by now. Returns 0 or a logged -ENOMEM: then there
 * are none.
 */
int group_index(struct group *g);

/* Whose page that id is, and its number; NULL for a slot. */
struct ward *group_page(const struct group *g, uint32_t id, uint64_t *page);

/* Not under the lock: one that needed this slot of the pool does not any more. */
void group_release_slot(struct group *g, uint32_t slot);

/* Bytes of memory of the group's that hold no page. */
uint64_t group_metadata(const struct group *g);
