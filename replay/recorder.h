/*
 * Steers a guest so that it can be replayed, and writes down what it cannot work out again.
 *
 * Invariants:
 *
 * 1. Nothing comes to the guest but at a *boundary*: an access has just completed, or the guest is halted, or an asynchronous point was
 *    written down. So the position says where it came.
 * 2. The virtual clock stands still but for steps, each of which is an event: when a timer is due, and before an access that time matters to.
 *    Timers fire with a step and never else.
 * 3. Events are in the log in the order in which they happened; those of one position happened before the next access.
 * 4. What is seen outside of the guest, its output and what it writes to disks, is seen when all that it follows from is in the file.
 * 5. What a device brings, it brings when it is asked: no completion comes later.
 */
#pragma once

#include <stdint.h>

#include "replay/log_writer.h"
#include "replay/record_digest.h"
#include "vmm/access.h"
#include "vmm/dirty.h"
#include "vmm/steering.h"

struct boundary;
struct mmu_ops;
struct program;

struct recorder_counts {
	uint64_t interrupts, asynchronous, pages, digests;
	uint64_t packed_bytes; /* of asynchronous points */
	uint64_t point_ns;     /* that they took, the guest standing still */
	uint64_t digest_ns;    /* the same for digests of its state */
};

struct recorder {
	struct steering steering;
	struct access_tap tap;
	struct vm *vm;
	struct log_writer *log; /* the owner's */
	const char *name;	/* of the log, for people */
	void (*at_end)(struct recorder *r); /* vCPU's thread: the last event is in the log */
	const struct program *program;
	const struct mmu_ops *mmu; /* that it began in; NULL = it was changed */
	uint64_t ran_from;	/* position at which the guest was let run last */
	uint64_t waiting_since; /* ns of the host: something wants to come and cannot; 0 = nothing */
	bool windowed;	/* an exit may have been asked for, for when the guest opens */
	uint64_t digest;	/* access_check.h */
	uint8_t checks[EVENT_CHECKS_MOST];
	uint8_t check_count;
	uint32_t registers; /* where the next interrupt is taken */
	bool open;	    /* the guest takes interrupts */
	bool in_access;	    /* one is being made */
	bool begun;	    /* and the log says so */
	bool failed;	    /* the log cannot be written; that was said */
	bool noting;	    /* of pages that are written, for asynchronous points */
	struct dirty_consumer consumer;
	struct dirty_set taken;
	struct record_digest *state;
	struct boundary *boundary;
	struct recorder_counts counts;
};

/*
 * The vCPU's thread, or before there is one: from here on the guest, whose clock is held, is steered and written down. Returns 0 or a
 * logged -errno.
 */
int recorder_begin(struct recorder *r, const struct program *p, struct vm *vm, struct log_writer *log, const char *name,
		   void (*at_end)(struct recorder *r));

/* The vCPU's thread, between guest runs: the recording ends here, the guest goes on. */
void recorder_stop(struct recorder *r);

/* The guest has ended, or was stopped being recorded, or its VM is gone. */
void recorder_free(struct recorder *r);
