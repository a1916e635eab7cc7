/*
 * One VM's guest in shadow mode: its state and where that state is.
 *
 *	OUTSIDE	     cs is the truth; the real CPU is not set up yet (after an import)
 *	IN_MONITOR   cs is the truth; the real CPU stands in the monitor at ring 0, and the way out leads to cs
 *	IN_GUEST     a kick ended KVM_RUN between two guest instructions; cs is up to date, the real CPU stands in ring 3
 *	RUNNING	     KVM_RUN is about to be called or has just been interrupted: nothing is known until
 *		     stop_catch_up()
 *
 *	             import                prepare              stub's exit
 *	             ------> OUTSIDE ------------------> RUNNING ------------> IN_MONITOR --> (handled, prepare)
 *	                                    IN_GUEST <---  | kick
 *
 * cs holds the guest's view throughout: its CPL, IF and IOPL, its segments and control registers. The real ones are fixed by
 * the monitor: ring 3, real IF = the guest's IF (only PUSHF looks), IOPL 0, flat segments.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shadow/counters.h"
#include "shadow/gmem.h"
#include "shadow/host_selectors.h"
#include "shadow/insn.h"
#include "shadow/monitor.h"
#include "shadow/patch.h"
#include "shadow/rflags.h"
#include "shadow/tables.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"

struct vcpu;
struct vm;

enum shadow_where { SHADOW_OUTSIDE, SHADOW_IN_MONITOR, SHADOW_IN_GUEST, SHADOW_RUNNING };

struct shadow_vm {
	struct vm *vm;
	struct monitor monitor;
	struct tables *tables;
	struct gmem gmem;
	struct mem_listener listener;
	struct patches patches;
	struct cpu_state cs;
	enum shadow_where where;
	uint64_t root;	    /* what the real CR3 holds */
	bool reload;	    /* the way out must load CR3 even if the root stays */
	bool control_stale; /* real CR0, CR4, FS and GS bases no longer match cs */
	bool debug_stale;   /* nor do the real debug registers */
	bool step;	    /* wanted: stop after one instruction */
	bool tf_added;	    /* the guest runs with a TF that is ours */
	bool stepped;	    /* it stopped by that TF */
	bool again;	    /* what was done for the instruction at RIP lets it be executed now */
	uint64_t shadow_rip; /* where the interrupt shadow in cs began */

	/* The instruction at rip stores to tables at gva[], and is to be lent them: nobody but the CPU can execute it. */
	struct shadow_wish {
		uint64_t rip;
		uint64_t gva[TABLES_MAX_LOANS];
		unsigned int count;
	} wish;
	enum host_selectors host_selectors;
	struct shadow_counters counters;
};

/* Of the real RFLAGS these are ours; the guest's own are in cs. All but IF are off while it runs. */
#define RFLAGS_VIRTUAL (RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP)
#define RFLAGS_HIDDEN (RFLAGS_VIRTUAL & ~RFLAGS_IF)

static inline struct shadow_vm *shadow_of_gmem(struct gmem *g)
{
	return (struct shadow_vm *)((char *)g - offsetof(struct shadow_vm, gmem));
}

/* View in which the guest runs now: by its CPL. */
static inline enum view shadow_view(const struct shadow_vm *s)
{
	return gmem_cpl(&s->cs) == 3 ? VIEW_USER : VIEW_KERNEL;
}
