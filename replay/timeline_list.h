/*
 * Inside timeline*.c only: the list of a timeline's checkpoints, and what becomes of it when one comes or goes. Invariants 1 to 5 of
 * timeline.h are kept here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/page_set.h"
#include "replay/page_store.h"
#include "replay/page_versions.h"
#include "replay/replayer.h"
#include "replay/timeline.h"
#include "replay/vm_state.h"
#include "vmm/dirty.h"

struct checkpoint {
	uint64_t position;
	struct page_layer ram;
	struct page_set used; /* by the guest between the checkpoint before and this one; more, too; not there: not known */
	struct vm_state state;
	uint64_t said; /* console.h */
	struct replayer_mark mark;
};

struct timeline {
	struct vm *vm;
	struct replayer *replayer;
	struct timeline_options options;
	struct page_store store;
	struct checkpoint **list; /* by position */
	uint64_t count, room;
	uint64_t at;	 /* that the guest has gone on from */
	uint64_t tried;	 /* position of the last that was asked for: there may not have been room for it */
	struct page_set since; /* pages that were written since */
	struct page_set wanted; /* room for another such set */
	struct dirty_consumer consumer;
	struct dirty_set taken;
	bool noting;
	bool lost; /* what was used since the guest was brought to a checkpoint, or made one, is not known */
	uint64_t bytes; /* that checkpoints take, beside the store */
	struct timeline_counts counts;
};

/* Where the guest stands. */
uint64_t timeline_position(const struct timeline *t);

/* The number of the latest checkpoint that is not after position `at`, or of the first. */
uint64_t timeline_find(const struct timeline *t, uint64_t at);

/* Pages that may not be as they were at checkpoint n. Good until it is asked for again. */
struct page_set *timeline_differing(struct timeline *t, uint64_t n);

/* The guest is as it was at checkpoint n: it goes on from there. */
void timeline_stand_at(struct timeline *t, uint64_t n);

/* A checkpoint of the guest as it is, which becomes number n and has these pages. Returns 0 or a logged -ENOMEM, and nothing is changed. */
int timeline_insert(struct timeline *t, uint64_t n, const struct page_set *pages);

/* Drops checkpoints until there is room. Warns if there is no memory to do so. */
void timeline_thin_out(struct timeline *t);

/* What all of it takes. */
uint64_t timeline_bytes(const struct timeline *t);

/* All of them. */
void timeline_empty(struct timeline *t);
