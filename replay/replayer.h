/*
 * Steers a guest as its log says (recorder.h), and looks whether it does again what it did.
 *
 * Invariants:
 *
 * 1. An event is brought when the guest stands at its position; what a device asks for, when it asks for it.
 * 2. Nothing else comes: neither the host's time nor what is typed.
 * 3. The first thing that is not as it was ends the VM as diverged; nothing that was seen of the guest then is taken for replayed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/async_point.h"
#include "replay/check_stream.h"
#include "replay/divergence.h"
#include "replay/log_reader.h"
#include "vmm/access.h"
#include "vmm/steering.h"

struct boundary;
struct mmu_ops;
struct program;
struct replayer;
struct probe;
struct replay_digest;

#define REPLAYER_TO_THE_END UINT64_MAX

/* Who follows a replay (timeline.h). Called on the vCPU's thread. */
struct replay_follower {
	/* Before each run of the guest, what is due having been brought: may look, and go elsewhere. */
	void (*look)(struct replay_follower *f, struct replayer *r);

	/* The guest has ended, and what there is to be compared with the recording was: may have it go on from elsewhere. NULL: nothing. */
	void (*ended)(struct replay_follower *f, struct replayer *r);
};

/* Where a replayer stands: all of it that moves on. */
struct replayer_mark {
	struct log_mark events;
	struct check_mark checks;
	struct event next; /* its bytes are in the block of `events` */
	bool has_next;
	uint64_t digest;
	struct passed_ring passed;
	uint64_t right, digests, reached, left;
	size_t typed_before;
};

struct replayer {
	struct steering steering;
	struct access_tap tap;
	struct vm *vm;
	const char *name; /* of the log, for people */
	const struct program *program;
	uint64_t until;	  /* position at which it ends */
	struct log_reader events;
	struct event next;
	bool has_next;
	struct check_stream checks;
	uint64_t digest;
	struct passed_ring passed;
	struct divergence divergence; /* once the VM has ended as diverged */
	uint64_t begun; /* position */
	uint64_t right; /* of the last digest; UINT64_MAX: there was none */
	uint64_t digests; /* there were */
	const struct mmu_ops *mmu; /* that it began in; NULL = it was changed */
	uint64_t reached; /* position that the guest gets to without anything coming to it, if the log has no more */
	uint64_t left;	  /* events that are to be used */
	void (*over)(struct replayer *r); /* what becomes of the guest where the log has no more; NULL: it ends */
	size_t typed_before; /* input that waited when the guest was saved, and that the log brings */
	struct boundary *boundary;
	bool walks;		  /* to asynchronous points, instead of being put there */
	struct async_point point; /* that it is on its way to; `next` is its state, and `begin` where its first page stood */
	struct replayer_begin {
		struct log_mark events;
		struct event next;
	} begin;
	struct log_place {
		uint64_t block;
		uint32_t byte;
	} *put; /* where in the log those points are that cannot be walked to */
	size_t puts;
	struct replay_follower *follower; /* NULL = nobody */
	struct replay_digest *state;
	struct probe *probe; /* the owner's; NULL = nobody looks */
};

/* Reads the log's beginning. Returns 0, or -errno with the reason and nothing to be freed. */
int replayer_open(struct replayer *r, const struct program *p, int fd, const char *name, uint64_t until, struct reason *why);
void replayer_close(struct replayer *r);

/*
 * Before it begins: not where the log begins, but behind so many events of it, the last of which is at `position`, the digest of all
 * accesses up to there being `digest`; and no more than `use` events behind that. Returns 0 or -errno with the reason.
 */
int replayer_go_to(struct replayer *r, uint64_t events, uint64_t position, uint64_t digest, uint64_t use, struct reason *why);

/* The VM is as it was where the replay begins, and has not run. Returns 0 or a logged -errno. */
int replayer_begin(struct replayer *r, struct vm *vm);

/*
 * The vCPU's thread, between guest runs: has the guest stand between two instructions, with all brought that is due there. False: it has
 * ended on the way.
 */
bool replayer_rest(struct replayer *r);

/*
 * Where the guest is to walk to: an asynchronous point, or NULL. Until replayer_put() puts it there, from right there or from anywhere else,
 * nothing comes to it; and when it makes an access before, it was led past it, and the VM has ended as diverged, which is not said.
 */
const struct async_point *replayer_awaits(const struct replayer *r);
void replayer_put(struct replayer *r);

/* It was led past the one that it walks to: from now on it is put there at once. Returns 0 or a logged -ENOMEM. */
int replayer_put_next_time(struct replayer *r);

/* For a guest that is put back to where it was: where the replayer stands, and back to there. Returns 0, or -errno with the reason. */
void replayer_mark(const struct replayer *r, struct replayer_mark *m);
int replayer_return(struct replayer *r, const struct replayer_mark *m, struct reason *why);

/* The vCPU's thread, between guest runs: the guest goes on by itself, and its clock from where it is. */
void replayer_let_go(struct replayer *r);
