/*
 * A guest run inside the calling process, which learns where the guest stood in its work: every write to the scratch port
 * (guest/abi.h) is a mark, at which processor time, exits and the MMU mode's statistics are read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/mmu.h"

struct kvm;

#define MARKS_MAX 8

struct mark {
	uint32_t value;
	uint64_t ns;	/* processor time of the calling thread so far, the guest's in it */
	uint64_t exits; /* of KVM_RUN for the guest's doing, this one included */
	struct mmu_stats stats;
};

struct marks {
	unsigned int count;
	struct mark mark[MARKS_MAX]; /* the first ones, in order */
};

/* Runs the image at `path` to its end. Returns its exit status as the program's would be, or a logged -errno. */
int marks_run(const struct kvm *kvm, const struct mmu_ops *mmu, const char *path, const char *arguments,
	      struct marks *marks);

/* The first mark of this value, or NULL. */
const struct mark *marks_find(const struct marks *marks, uint32_t value);

/* A counter of the MMU mode by its name; 0 if it has none of that name. */
uint64_t mark_counter(const struct mark *m, const char *name);
