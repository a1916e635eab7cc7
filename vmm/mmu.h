/*
 * The MMU seam: what a backend (ept/, shadow/) gives the run loop. A backend decides how the guest's paging is run on this
 * host; everything above it sees only `struct cpu_state`. All functions are called on the vCPU's thread, the vCPU
 * stopped, unless said otherwise; int functions return 0 or a logged -errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_event;
struct cpu_state;
struct debug_mmu_ops;
struct image;
struct image_reason;
struct vcpu;
struct vm;

/* What became of an exit that KVM_RUN returned. */
enum mmu_verdict {
	MMU_NOT_MINE, /* the run loop's exit table decides */
	MMU_DONE,     /* handled: run on, or the VM has ended */
};

/* What a memory access wants; combine. */
enum mmu_access { MMU_READ = 0, MMU_WRITE = 1, MMU_EXEC = 2, MMU_USER = 4 };

#define MMU_MAX_COUNTERS 40

struct mmu_counter {
	const char *name;
	uint64_t value;
};

struct mmu_stats {
	uint64_t hidden_faults;
	uint64_t pte_writes;
	unsigned int count; /* of what the backend counts beyond, by name */
	struct mmu_counter counter[MMU_MAX_COUNTERS];
};

struct mmu_ops {
	const char *name; /* as in --mmu */

	/*
	 * Can this host run the image in this mode? 0, -ENOTSUP (not logged) with the reason, or another error with the
	 * reason empty, which was logged. Needs no VM; attach() asks the same of vm->image. NULL: every image can run.
	 */
	int (*check_image)(const struct image *im, struct image_reason *why);

	/* Makes the VM's RAM and first vCPU ready for this backend; sets vm->mmu_data. Not yet any state. */
	int (*attach)(struct vm *vm);
	void (*detach)(struct vm *vm);

	/*
	 * State out of and into a vCPU. The vCPU is at an instruction boundary: callers drain first (vcpu_drain()). From an
	 * export to the next prepare(), RAM holds nothing of the backend's.
	 */
	int (*export_state)(struct vcpu *v, struct cpu_state *cs);
	int (*import_state)(struct vcpu *v, const struct cpu_state *cs);

	/*
	 * As import_state(), into the running backend, and cheaper: all that was written to RAM since was written through the door (mem.h).
	 * NULL where it is not.
	 */
	int (*move)(struct vcpu *v, const struct cpu_state *cs);

	/* Last thing before every KVM_RUN; NULL if there is nothing to do. */
	int (*prepare)(struct vcpu *v);

	/* First look at every exit. */
	enum mmu_verdict (*handle_exit)(struct vcpu *v);

	/*
	 * Could the guest take an interrupt right now (IF = 1, no shadow, none in delivery)? If not, window() asks for an
	 * exit as soon as it can, or takes the wish back. An access that was under way when KVM_RUN was interrupted may be completed by
	 * the question; from then until KVM_RUN none is.
	 */
	bool (*interruptible)(struct vcpu *v);
	void (*window)(struct vcpu *v, bool wanted);

	/* Has the next run deliver an interrupt (the guest is interruptible) or an exception through the guest's IDT. */
	int (*interrupt)(struct vcpu *v, uint8_t vector);
	int (*exception)(struct vcpu *v, const struct cpu_event *event);

	/*
	 * Walks the guest's tables as they are now: gva -> gpa for an access of kind `access` (enum mmu_access), without
	 * side effects. Returns 0 or -EFAULT (not logged) where the guest would fault.
	 */
	int (*translate)(struct vcpu *v, uint64_t gva, unsigned int access, uint64_t *gpa);

	/* Guest pages were exchanged or written by the VMM while this backend may hold translations; NULL = no matter. */
	void (*memory_changed)(struct vm *vm, uint64_t gpa, uint64_t size);

	/*
	 * Which pages of RAM the guest used since the last call: ORs them into `pages`, a bit a page by mem_page_number(), and
	 * starts anew. Returns 1, or 0 if this call only starts: the first one, and the first after a change of mode. The
	 * guest has not ended. `pages` = NULL: nobody wants to know any more; returns 0.
	 *
	 * Used is what the guest's instructions read, wrote or executed, through whatever address, whether the CPU carried them
	 * out or the VMM did for it; what is read and pushed to deliver events; and the guest's tables that had to be walked.
	 * Pages beside it may be named too where a CPU may look ahead. What devices and the VMM itself do to RAM is not use.
	 * A call drops all translations, and what goes on from there is faulted in again. NULL where the mode cannot tell.
	 */
	int (*accessed)(struct vm *vm, uint64_t *pages);

	/* RIP of the guest instruction the vCPU stands at, for people. Returns 0 or -ENOENT where nobody can know. */
	int (*rip)(struct vcpu *v, uint64_t *rip);

	void (*stats)(const struct vm *vm, struct mmu_stats *stats);

	/* For a debugger (debug.h); NULL where the mode cannot. */
	const struct debug_mmu_ops *debug;
};
