/*
 * Measures: runs guests in several MMU modes in turn and writes down what they took.
 *
 * A row is measured in rounds: one of each mode, A B A B ..., after a round that is thrown away. Each run is a fresh virtual
 * machine. What lies between the guest's marks BEGIN and END is counted (guest/lib/mmucost.h), less what a mark costs by itself: that
 * is seen in the same runs, between the marks WARM and BEGIN, where nothing else happens. Of an image that is run as a whole
 * everything counts, from its first instruction to its last.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "compare/comparison.h"
#include "vmm/cpu_model.h"
#include "vmm/mem.h"

struct kvm;
struct mmu_ops;
struct program;
struct workload;

struct measure_plan {
	const struct program *program;
	const struct kvm *kvm;
	unsigned int modes;
	const struct mmu_ops *mmu[COMPARISON_MAX_COLUMNS]; /* the columns, in order */
	size_t workloads;
	const struct workload *const *workload;
	const char *image;     /* instead of workloads: this file, run as a whole */
	const char *arguments; /* for it */
	unsigned int rounds;   /* that count */
	enum cpu_model cpu;
	enum mem_huge huge;
	uint64_t mem;	     /* bytes of RAM for each guest, 0 = what it takes */
	uint64_t timeout_ms; /* for each guest, 0 = never */
	const atomic_bool *stop; /* raised from elsewhere: the guest is ended soon, and what is there is the result */
	void (*progress)(void *arg, const char *row, unsigned int done, unsigned int all); /* before every run; may be NULL */
	void *progress_arg;
};

/*
 * Fills an empty comparison. Returns 0, also if some cells say why they cannot be measured or if it was stopped (partial), or a
 * logged -errno where nothing can be measured at all: no KVM, no memory, an image that cannot be opened.
 */
int measure(struct comparison *c, const struct measure_plan *plan);
