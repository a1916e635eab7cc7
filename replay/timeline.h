/*
 * The timeline of a replay: checkpoints in memory of a guest that is replayed, to each of which the same VM can be put back (or forward),
 * to go on from there and do the same again. A checkpoint is registers, devices, clock and where the replayer stands, and of RAM what was
 * written since the checkpoint before it (page_versions.h).
 *
 * Invariants:
 *
 * 1. Checkpoints are in order of position, and no two have the same.
 * 2. A page that is not in `since` (timeline_list.h) holds what it held at the checkpoint `at`; nothing is known of the others.
 * 3. Going somewhere writes only pages that are in `since`, or have a version between `at` and there.
 * 4. What is replayed is the same each time, so checkpoints that are later than the guest stay good, until somebody changes the guest.
 * 5. The first checkpoint stays. Where room is short, that one goes whose neighbours are closest to each other, by its distance from where
 *    the guest stands: spacing stays dense near that, and grows exponentially away from it. The last goes when there is no other, and that
 *    which the guest has just gone on from after it. What one held of RAM goes to the next (page_versions.h), so each that stays is whole.
 * 6. What the guest shows is shown once (console_rewind()).
 *
 * All functions: the vCPU's thread, between guest runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reason;
struct replayer;
struct timeline;
struct vm;

#define TIMELINE_ROOM (256ull << 20)

struct timeline_options {
	uint64_t every; /* positions between two checkpoints that timeline_due() asks for; 0 = none */
	uint64_t room;	/* bytes that all of them may take */
	bool uses;	/* which pages the guest uses is noted, where the mode can tell: nobody else may want to know (mmu.h) */
};

struct timeline_counts {
	uint64_t count;		 /* checkpoints that there are */
	uint64_t bytes;		 /* that they take */
	uint64_t taken, dropped; /* since the beginning; dropped for want of room */
	uint64_t gone;		 /* how often timeline_go() was used */
};

/*
 * The first checkpoint: of where the guest stands now, at rest (replayer_rest()). VM and replayer must outlive the timeline. Returns 0
 * or a logged -errno: -ENOMEM, too, if there is not room for as much.
 */
int timeline_begin(struct timeline **t, struct vm *vm, struct replayer *r, const struct timeline_options *o);
void timeline_end(struct timeline *t);

/*
 * A checkpoint of where the guest stands, at rest (replayer_rest()). Where there is one of this position already it is compared with the
 * guest instead, all of it. Returns 0; or 1 with the reason: the guest is not as it was then, and both stay as they are; or a logged
 * -errno: there is none, and the others are as they were.
 */
int timeline_take(struct timeline *t, struct reason *why);

/*
 * Whether spacing asks for a checkpoint of this position, or there is one of it already that the guest has not been compared with. Where
 * there was no room for one, or it failed, the next is as far behind that.
 */
bool timeline_due(const struct timeline *t);

/* Position of the latest checkpoint that is not after `position`; of the first, if all are. */
uint64_t timeline_before(const struct timeline *t, uint64_t position);

/* Of the way that the guest is on nobody knows what it uses: it was put somewhere on it, and did not execute what led there. */
void timeline_lose_uses(struct timeline *t);

/*
 * Whether the guest may use, or write, the page at `gpa` on its way from the checkpoint at position `from` to `to`: true if that is not
 * known. A page that is executed is used, but not one that was to be executed and was not mapped.
 */
bool timeline_may_use(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa);
bool timeline_may_write(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa);

/*
 * Puts the VM to that checkpoint, from wherever it stands, also if it has ended: RAM, registers, devices, clock and replayer are as they
 * were, and vm->end is VM_RUNNING. Returns 0, or a logged -errno: then the VM has ended as failed.
 */
int timeline_go(struct timeline *t, uint64_t position);

void timeline_count(const struct timeline *t, struct timeline_counts *counts);
