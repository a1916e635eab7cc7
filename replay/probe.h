/*
 * Looks at a replay from time to time, so that it can be compared with another one of the same log (bisect.h). What was seen is in memory
 * that two processes share: plain data.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "replay/boundary.h"
#include "replay/divergence.h"

struct state_digest;
struct vm;

#define PROBE_SAMPLES 64u
#define PROBE_NEVER UINT64_MAX

struct probe_sample {
	uint64_t position;
	uint64_t ram;	    /* ram_digest.h */
	uint32_t registers; /* boundary_check() */
};

struct probe {
	/* What is wanted. */
	uint64_t from, step; /* a sample at the first position from here on where there can be one, and so on */
	uint64_t dump_at;    /* all that there is, the same way; PROBE_NEVER = nowhere */
	int ram_fd;	     /* a file that all pages which are not zero go into, at their gpas */
	/* What was found. */
	unsigned int count;
	struct probe_sample sample[PROBE_SAMPLES];
	bool dumped;
	uint64_t dumped_at;
	uint64_t registers[BOUNDARY_REGISTERS];
	bool has_access;
	struct access access; /* the last one before the dump */
	bool ended;
	int end; /* enum vm_end_kind */
	uint64_t end_position;
	char reason[224];
	struct divergence divergence;
};

/* The vCPU's thread, before anything comes to the guest at its position. Returns 0 or a logged -errno. */
int probe_look(struct probe *p, struct vm *vm, struct boundary *b, struct state_digest *s, const struct passed_ring *passed);

/* The VM has ended. */
void probe_end(struct probe *p, const struct vm *vm, const struct divergence *d);
