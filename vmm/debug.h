/*
 * A guest under a debugger: where it is to stop, why it stopped, and who then says how it goes on.
 *
 * Duties and invariants:
 *
 * 1. While a step is wanted no point is in force: the guest executes one instruction, or takes one exception, and stops.
 * 2. An instruction breakpoint is an INT3 in RAM, only from debug_put_in() to debug_take_out(). The page does not count as written:
 *    whoever looks at the guest's RAM while it stands still finds it as it was.
 * 3. A hardware breakpoint leaves RAM alone, so that it holds where code is still to be written; its page cannot be executed.
 * 4. A watched value is compared whenever the guest has stopped. The backend sees to it that the guest stops for each instruction that
 *    may write to it; what devices and the VMM write is found behind the access that it came with.
 * 5. Points lie in guest-virtual space, and hold for the page that lay there when they were made; an INT3 waits until there is one. Where no
 *    page is, the guest stands at a breakpoint all the same before it faults there.
 *
 * All functions are called on the vCPU's thread, the guest standing still.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct debug;
struct vm;

enum debug_kind { DEBUG_BREAK, DEBUG_HARDWARE_BREAK, DEBUG_WATCH_WRITE, DEBUG_WATCH_READ, DEBUG_WATCH_ACCESS };

#define DEBUG_POINTS_MAX 64u
#define DEBUG_WATCH_MOST 64u /* bytes of one watch */

struct debug_point {
	enum debug_kind kind;
	uint64_t gva;
	uint32_t size; /* bytes; of a breakpoint 1 */
	bool placed;   /* gpa is known, by the tables at cr3 */
	bool in;       /* the INT3 is there, in place of `byte` */
	uint8_t byte;
	uint64_t gpa, cr3;
	uint8_t value[DEBUG_WATCH_MOST]; /* of a watch: what was last seen there */
};

enum debug_why { DEBUG_STEPPED, DEBUG_POINT, DEBUG_OWN_BREAK };

struct debug_stop {
	enum debug_why why;
	enum debug_kind kind; /* of the point */
	uint64_t gva;	      /* where the point is */
	bool is_access;	      /* what was executed made an access, and nothing was executed since */
};

struct debug_ops {
	/* In place of the run loop: runs the guest by run_turn(), as its user wants, until it is to run no more. */
	void (*drive)(struct debug *d, struct vm *vm);

	/* Any thread, while the VM is there: somebody has asked the VM to end (vm_ask_end()), and it may be standing still. */
	void (*cancel)(struct debug *d);

	/* The VM has ended, vm->end says how, and is not asked any more. */
	void (*ended)(struct debug *d, const struct vm *vm);
};

struct debug {
	const struct debug_ops *ops;
	bool stepping; /* wanted: a stop behind the next instruction */
	bool stopped;
	struct debug_stop stop;
	bool touched;		 /* by the instruction that the guest is about to execute: */
	struct debug_stop touch; /* what it will have met */
	unsigned int count;
	struct debug_point point[DEBUG_POINTS_MAX];
	struct debug_point own; /* a breakpoint beside the user's, if size is not 0 */
};

/* A backend's part; struct mmu_ops names it. */
struct debug_mmu_ops {
	/* The points have changed: pages that are watched are those of d->point[] now. Returns 0 or a logged -errno. */
	int (*points_changed)(struct vm *vm);

	/* Of a guest that was stopped: general registers, RIP, RFLAGS and CR3 in it are its own. Good until it runs. */
	const struct cpu_state *(*registers)(struct vm *vm);

	/* What the CPU finds at gva in place of the guest's own entries: one by level, 1 to WALK_LEVELS (walk.h), 0 = none. */
	void (*shadow_walk)(struct vm *vm, uint64_t gva, uint64_t *entry);
};

/* For `--gdb`; main.c says whether there is such a feature. */
struct debugging_feature {
	/* Listens at `where` for whoever debugs. Returns 0 or a logged -errno. */
	int (*open)(struct debug **d, const char *where);
	void (*close)(struct debug *d);
};

/* The VM has not run: `d`, all zero but for its ops, drives it. Returns 0, or a logged -ENOTSUP: not in this MMU mode. */
int debug_attach(struct debug *d, struct vm *vm);

/* Returns 0, or -errno: -EEXIST, -ENOENT, -ENOSPC, -E2BIG, -EFAULT (nothing is mapped there; an INT3 can wait for that). */
int debug_insert(struct vm *vm, enum debug_kind kind, uint64_t gva, uint32_t size);
int debug_remove(struct vm *vm, enum debug_kind kind, uint64_t gva, uint32_t size);

/* These points, as they were once placed, in place of all that there are; what they watch is looked at anew. Returns 0 or a logged -errno. */
int debug_set(struct vm *vm, const struct debug_point *point, unsigned int count);

/*
 * A breakpoint beside the user's: at the byte of RAM at gpa, where the guest executes it at gva; DEBUG_NOWHERE: no page is there by the tables
 * at cr3, and who goes by them faults. Removing one that is not there is fine.
 */
#define DEBUG_NOWHERE UINT64_MAX
void debug_set_own(struct vm *vm, uint64_t gva, uint64_t gpa, uint64_t cr3);
void debug_remove_own(struct vm *vm);

/* Whether a breakpoint of the user's is where the guest stands; or the one beside them. */
bool debug_is_at_break(struct vm *vm);
bool debug_is_at_own(struct vm *vm);

/*
 * The guest was put to where it stands, without executing what leads there: d->stopped says whether it is to stop, for a breakpoint there or
 * for a value that is another than before.
 */
void debug_was_put(struct vm *vm);

/* Before the backend prepares the run (mmu.h): points that wait for a page look for it. */
void debug_place(struct vm *vm);

/* Right before the guest runs, and whenever its RAM is to be seen as it is; nothing to do without a debugger. */
void debug_put_in(struct vm *vm);
void debug_take_out(struct vm *vm);

/* The guest is about to execute the byte at gpa, at gva: notes it if a breakpoint of that kind is there and in force, and returns whether. */
bool debug_break(struct debug *d, enum debug_kind kind, uint64_t gva, uint64_t gpa);

/* The guest is about to fault where it fetches the instruction at RIP: the same for breakpoints of any kind. */
bool debug_break_unfetched(struct vm *vm);

/*
 * The instruction that the guest is about to execute reads, or with MMU_WRITE writes, size bytes at gva, in a page that it may not touch
 * unseen. debug_executed() will say so if a watch is met.
 */
void debug_touch(struct debug *d, uint64_t gva, uint32_t size, unsigned int access);

/* An instruction was executed, with an access or without, or an event delivered: whether the guest is to stop for it, d->stopped says. */
void debug_executed(struct vm *vm, bool is_access);

static inline bool debug_is_watch(enum debug_kind kind)
{
	return kind >= DEBUG_WATCH_WRITE;
}
