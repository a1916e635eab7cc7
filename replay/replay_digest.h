/*
 * What a replayer keeps of RAM to compare it with the digests of its log. It follows RAM and is no part of what the guest did: whoever has
 * the guest go back to where it was needs no other one.
 */
#pragma once

#include "replay/digest_compare.h"
#include "replay/state_digest.h"

struct replay_digest {
	struct state_digest state;
	uint64_t of;		    /* how many digests there were when it was taken */
	struct state_digest probed; /* the same for who looks between them (probe.h) */
};

void replay_digest_init(struct replay_digest *d, struct vm *vm);

/*
 * The vCPU's thread: compares the event, before which there were so many digests. `at` = NULL: the guest has ended. RAM is compared if
 * `same_paging` and if there can be a digest of it. *v and *diff as of digest_compare(). Returns 0 or a logged -errno.
 */
int replay_digest_compare(struct replay_digest *d, const struct event *e, uint64_t digests, const struct boundary *at, bool same_paging,
			  enum digest_verdict *v, struct digest_difference *diff);

/* The VM has ended. */
void replay_digest_end(struct replay_digest *d);

/* NULL: nothing is done. */
void replay_digest_free(struct replay_digest *d);
