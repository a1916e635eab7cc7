/*
 * Codecs for whoever needs one for a moment: guests' faults come on many threads, and one for each would cost more than it packs.
 */
#pragma once

#include <pthread.h>

#include "dedup/codec.h"

#define CODECS_MOST 4u

struct codecs {
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct codec *idle[CODECS_MOST];
	unsigned int idle_count, count;
};

/* With the first one, so that there is always one. Returns 0 or a logged -ENOMEM. */
int codecs_init(struct codecs *c);

/* All have been given back. */
void codecs_destroy(struct codecs *c);

/* Any thread: one that nobody uses; it may have to be waited for. */
struct codec *codecs_take(struct codecs *c);
void codecs_give(struct codecs *c, struct codec *codec);
