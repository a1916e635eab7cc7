/*
 * A guest run inside the calling process, which learns where the guest stood in its work: every write to the scratch port
 * (guest/abi.h) is a mark, at which processor time, exits and the MMU mode's statistics are read. What the guest prints is
 * dropped.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu_model.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

struct image;
struct kvm;

#define MARKS_MAX 8
#define MARKS_MEM (32ull << 20)

struct marks_config {
	const struct kvm *kvm;
	const struct mmu_ops *mmu;
	const struct image *image; /* open, and stays so */
	const char *arguments;
	uint64_t mem;		   /* bytes of RAM, 0 = MARKS_MEM */
	enum mem_huge huge;
	enum cpu_model cpu;
	uint64_t timeout_ms;	   /* after which the guest is ended, 0 = never */
	const atomic_bool *stop;   /* raised by a signal handler or another thread: the guest is ended soon; may be NULL */
};

/* Processor time is that of the calling thread so far, the guest's in it. */
struct mark {
	uint32_t value;
	uint64_t ns;	/* when it was set */
	uint64_t done_ns; /* when the guest may go on: between the two, this file was reading */
	uint64_t exits[VCPU_EXIT_KINDS]; /* of KVM_RUN by reason (KVM_EXIT_*), this one included */
	struct mmu_stats stats;
};

struct marks {
	unsigned int count;
	struct mark mark[MARKS_MAX]; /* the first ones, in order */
	struct mark start, end;	     /* before the guest's first instruction, and behind its last */
	enum vm_end_kind ended;	     /* VM_RUNNING: it could not be started */
	char why[224];		     /* one line, unless the guest ended itself with 0: why not */
	uint64_t host_page;	     /* bytes of the pages that most of its RAM had in the host at its end, 0 = not known */
};

/*
 * Runs the image to its end on the calling thread, after vcpu_init_process(). Returns 0 if the guest ended itself with 0,
 * its exit status as the program's would be, or a -errno: -ENOTSUP, not logged, where the mode cannot run this image on
 * this host, else logged. `why` is set unless it is 0, and marks up to then are there.
 */
int marks_run(const struct marks_config *config, struct marks *marks);

/* The first mark of this value, or NULL. */
const struct mark *marks_find(const struct marks *marks, uint32_t value);

/* Processor time from one mark to a later one, without what reading them took. */
uint64_t mark_ns_between(const struct mark *from, const struct mark *to);

/* Exits for the guest's doing from one mark to a later one, the later one included; not those that the host causes. */
uint64_t mark_exits_between(const struct mark *from, const struct mark *to);

/* A counter of the MMU mode by its name; 0 if it has none of that name. */
uint64_t mark_counter(const struct mark *m, const char *name);
