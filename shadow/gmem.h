/*
 * Guest memory by gva, as the guest's CPU would touch it: the guest's tables are walked for the kind of access, their A and
 * D bits are set as hardware sets them, devices are reached through the access seam, and a page fault comes back as data.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct access;
struct cpu_state;
struct mem;
struct walk;

/* A page fault the guest has to see: CR2 and error code (walk.h, PF_*). */
struct gfault {
	uint64_t gva;
	uint32_t error;
};

struct gmem {
	struct mem *mem;
	struct cpu_state *cs; /* whose paging mode and tables count; CPL is that of cs->segment[CPU_SS] */

	/*
	 * Told after each store to guest RAM made through here (not of A and D bits), so that shadowed tables follow.
	 * May be NULL.
	 */
	void (*stored)(struct gmem *g, uint64_t gpa, uint64_t size);

	/* Told of each walk of the guest's tables, and whether what it leads to will be used. May be NULL. */
	void (*walked)(struct gmem *g, const struct walk *w, bool used);

	/* True while RAM's door (mem.h) is told of our own stores and A and D bits: listeners there need not act. */
	bool storing;

	/* Completes an access of 1..8 bytes to a gpa that is not RAM. Returns false if that ended the VM. */
	bool (*device)(struct gmem *g, struct access *a);
};

#define GMEM_MAX 64u

/* Where [gva, gva + size) leads: one piece, or two where it crosses a page border (otherwise the second has size 0). */
struct gmem_range {
	struct gmem_part {
		uint64_t gpa;
		uint32_t size;
	} part[2];
};

/*
 * Finds out where an access of kind `access` (enum mmu_access; MMU_USER is taken as given, it is not derived from CPL:
 * descriptor tables are read as supervisor at any CPL) to [gva, gva + size) leads, and sets A and D for it: the step at
 * which it faults or not. size is 1..GMEM_MAX. Returns 0, or -EFAULT with *fault filled and nothing changed.
 */
int gmem_resolve(struct gmem *g, uint64_t gva, uint32_t size, unsigned int access, struct gmem_range *r,
		 struct gfault *fault);

/*
 * Move the bytes of a resolved range; the guest must not have run since. What is not RAM goes to the device, at most 8
 * bytes at a time, lowest address first, as KVM splits it. Return 0, or -EIO if the VM ended. One vCPU at a time writes
 * guest RAM, so a locked instruction is a load and a store.
 */
int gmem_load(struct gmem *g, const struct gmem_range *r, void *to);
int gmem_store(struct gmem *g, const struct gmem_range *r, const void *from);

/* Whether all of [gva, gva + size) is canonical; everything below expects that, or calls it a page fault. */
bool gmem_canonical(uint64_t gva, uint32_t size);

/*
 * Both steps at once, MMU_WRITE added for gmem_write(). All pages are checked before the first byte moves. Return 0;
 * -EFAULT with *fault filled; -EIO if the VM ended.
 */
int gmem_read(struct gmem *g, uint64_t gva, void *to, uint32_t size, unsigned int access, struct gfault *fault);
int gmem_write(struct gmem *g, uint64_t gva, const void *from, uint32_t size, unsigned int access,
	       struct gfault *fault);

/* CPL of the state: DPL of SS. */
unsigned int gmem_cpl(const struct cpu_state *cs);

/* MMU_USER at CPL 3, else 0: for an instruction's own operands. */
unsigned int gmem_user(const struct cpu_state *cs);
