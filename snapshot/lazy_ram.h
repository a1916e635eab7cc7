/*
 * RAM of a restored guest that comes from the snapshot when somebody touches it: each page is read and checked then, before
 * anybody sees it. What the guest touches in its first seconds is noted beside the snapshot (working_set.h), and the next time
 * it is brought in before the guest runs.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "snapshot/extents.h"
#include "snapshot/working_set.h"
#include "vmm/pager.h"

struct image_reader;
struct reason;
struct vm;

#define LAZY_AHEAD 16u /* pages at a fault: one more costs less than a twentieth of one more fault */
#define LAZY_NOTE_MS 10000u

struct lazy_ram {
	struct pager pager;
	const struct image_reader *reader;
	const struct vm *vm; /* whose RAM it is */
	struct extents extents;
	int directory; /* where the working set is */

	pthread_t thread;
	bool noting; /* the thread runs */
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t stopped;
	bool stop;
	struct working_set set; /* what the file has, and then what the guest touches */
	uint64_t known;		/* pages of the file */
};

/* The reader must outlive it. Returns 0 or -errno with the reason, and nothing to be closed. */
int lazy_ram_open(struct lazy_ram *l, const struct image_reader *r, struct reason *why);

/*
 * Makes it the RAM of a VM that has not run yet, once: what the snapshot holds is absent, but for the working set, which has been
 * brought in. The lazy RAM must outlive the VM. Returns 0 or a logged -errno.
 */
int lazy_ram_attach(struct lazy_ram *l, struct vm *vm);

/* The VM is gone. What it has touched is written down. */
void lazy_ram_close(struct lazy_ram *l);
