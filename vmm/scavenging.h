/*
 * What a feature does over the RAM of all guests of a run, in the background (`--scavenge`). main.c says whether there is such
 * a feature.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

enum scavenge_stage { SCAVENGE_ZERO, SCAVENGE_SAME, SCAVENGE_DELTA, SCAVENGE_COMPRESS, SCAVENGE_STAGES };

struct scavenge_options {
	bool on;		      /* from the start */
	enum scavenge_stage last;     /* stages up to this one */
	unsigned int cpu_percent;     /* of one processor, at most */
	unsigned int refaults;	      /* a second and guest, that are aimed at */
	unsigned int idle_ms;	      /* a page that was not written for so long is looked at */
	uint64_t memory;	      /* bytes that guests may use together; 0 = what the host has */
	char **group;		      /* names, dealt out in turn */
	unsigned int group_count;     /* 0: one group for all */
	bool each;		      /* each guest is a group of its own */
};

struct scavenging {
	/* Before the first guest. Returns 0 or a logged -errno. *o must outlive it. */
	int (*start)(void **s, const struct scavenge_options *o);

	/*
	 * A guest's VM is there, and its vCPU has not run yet. Returns 0 or a logged -errno: then there must be no such guest (-ENOMEM: its
	 * RAM is more than can be kept for it).
	 */
	int (*add)(void *s, struct vm *vm);

	/* Any thread: goes on, or rests; what is shared and cold stays so until it is used. Returns 0 or a logged -errno. */
	int (*turn)(void *s, bool on);

	/* The vCPU's thread, or the guest has ended: what it has for this guest. The caller's to json_decref(); NULL = nothing. */
	json_t *(*stats)(void *s, const struct vm *vm);

	/* The guest has ended and its thread is gone; its VM is there for a little while yet. */
	void (*remove)(void *s, struct vm *vm);

	void (*stop)(void *s);
};
