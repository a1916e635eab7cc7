/*
 * Shadow page tables: what the hardware walks in place of the guest's own tables. Pure data structure: it lives in a pool of
 * pages that the monitor lends it, and knows nothing of KVM.
 *
 * Duties and invariants
 *
 *  1. A shadow page stands for one guest table page (or a part of a large page) at one level, in one view, under one role
 *     (CR0.WP, EFER.NXE, CR4.SMEP and, under SMEP in the kernel view, whether the path so far was user). There is one for
 *     each such key, however many parents it has.
 *  2. A present spte is a function of its gpte, its level, view and role: never more rights than the guest gives. It is
 *     present only if the gpte is present, accessed, without reserved bits, and leads to RAM. A leaf is writable only if
 *     the gpte is dirty. A spte never points at the monitor but to a shadow page, never carries G, always U, A and (leaf) D;
 *     but A of leaves is the CPU's to set while somebody wants to know which pages are used (10).
 *  3. Kernel view: guest supervisor pages are user pages; user pages are there too, not executable under SMEP, writable
 *     regardless of W if CR0.WP = 0. User view: user pages only.
 *  4. Guest pages that are shadowed as tables, and in sync, are not writable through any spte, in any view, but for the
 *     loans of 6. Large sptes are not there at all for frames that are shadowed as tables.
 *  5. The reverse map holds every leaf spte of every guest page, the parent lists every non-leaf spte of a shadow page.
 *  6. Guest stores to shadowed pages are reported (tables_stored()) before the guest runs on; hence no present spte is ever
 *     older than its gpte. Two exceptions:
 *     Tables that serve at the last level only may go out of sync. Those the guest writes to unseen, and their present
 *     sptes are as old as a TLB's entry might be: what the gpte said at some time since the guest last loaded CR3, or
 *     executed INVLPG for an address that leads there. A load of CR3 brings all back into sync; the page is then
 *     protected again. A table that comes to serve at a higher level is in sync from that moment.
 *     Tables of any level may be lent (tables_lend()) for one instruction that nobody can emulate, each through one leaf
 *     spte, which is writable meanwhile. Their sptes say what the gptes said when they were lent. No entry is filled
 *     while a loan stands: tables_take_back() ends all loans before anything else is asked of the tables; it protects
 *     the pages again and goes through all of their entries, whether the instruction wrote to them or not.
 *  7. Entries change in one of two ways. From outside (a plain store by the VMM): only not-present to present, and pure
 *     widening of a 4 KiB spte for the same frame. Anything else, and anything on an entry that has an edit pending, goes
 *     to the list of edits, which the monitor's generated code carries out inside the VM before the guest runs on, in
 *     order, followed by a CR3 reload. This is coherent with and without nested paging (docs/hosts.md).
 *  8. A page taken out of use is not used again before the pool has been recycled (all translations the host may hold of
 *     it dropped, the page zeroed).
 *  9. What the guest can cause is bounded: pages of the pool, edits, reverse-map entries. When something runs out, all
 *     shadows are dropped and built anew; that is slow and right.
 *     Fewer rights than 2 allows are given to frames with a guard (tables_guard()); and there are no large sptes for them.
 * 10. While somebody wants to know which pages the guest uses (tables_accessed()), leaf sptes are made without A, there are
 *     no large ones, and an A is noted before the entry that has it changes or goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/walk.h"

struct cpu_state;
struct mem;
struct shadow_page;

enum view { VIEW_KERNEL, VIEW_USER };

/* One store the monitor has to make: `value` to the spte at gpa (of the pool). */
struct tables_edit {
	uint64_t gpa;
	uint64_t value;
};

#define TABLES_MAX_EDITS 512
#define TABLES_MAX_LOANS 8
#define TABLES_MAX_GUARDS 64

/*
 * Smallest pool: with it, any one instruction gets through after a recycling. A root, and three tables each for two pages
 * of code, source, destination and stack, and as much again to spare.
 */
#define TABLES_MIN_PAGES 50u
#define TABLES_MAX_PAGES (1u << 22)

struct tables_stats {
	uint64_t fills;		 /* sptes made present by a fault */
	uint64_t prefetched;	 /* neighbours made present along with them */
	uint64_t gpte_stores;	 /* guest stores to shadowed table pages */
	uint64_t unsynced;	 /* guest tables let out of sync, to be written to without exits */
	uint64_t unshadowed;	 /* guest table pages given up (flooded, odd stores, freed) */
	uint64_t recycled;	 /* times everything was dropped: no room, tables_drop_all(), tables_accessed() */
	uint64_t root_hits, root_misses;
};

/*
 * Memory lent for shadow pages: `pages` pages at host address hva, which the guest CPU sees at gpa, above all RAM. All
 * zero.
 */
struct tables_pool {
	uint8_t *hva;
	uint64_t gpa;
	uint32_t pages;
};

struct tables;

/* monitor_pml4e: put into slot 256 of every root, so that the monitor is mapped everywhere. NULL and logged on ENOMEM. */
struct tables *tables_create(struct mem *m, const struct tables_pool *pool, uint64_t monitor_pml4e);
void tables_destroy(struct tables *t);

enum tables_verdict {
	TABLES_FILLED,	    /* the access will succeed now */
	TABLES_GUEST_FAULT, /* the guest's own fault: walk->error */
	TABLES_STORE,	    /* a permitted write to a table that stays in sync: emulate it, then tables_stored(); or lend */
	TABLES_DEVICE,	    /* permitted, but walk->gpa is not RAM: emulate it */
	TABLES_GUARDED,	    /* the access will succeed now; then tables_close_guards() */
};

/*
 * The guest faulted on gva in `view` with an access of kind `access` (enum mmu_access, MMU_USER from the guest's CPL).
 * Walks; where the access may simply happen, sets A and D as hardware would, and makes the translation present (and, with
 * prefetch, its neighbours whose gptes need no A or D). Where it is to be emulated, whoever does that sets A and D.
 * If the room ran out (tables_must_recycle()), TABLES_FILLED says that the guest should try again.
 * The guest is in 4-level long mode. The 512 GiB of the monitor's slot are not mapped for it, whatever its tables say.
 */
enum tables_verdict tables_fault(struct tables *t, const struct cpu_state *cs, enum view view, uint64_t gva,
				 unsigned int access, struct walk *walk);

/* gpa of the root (PML4) of a view for cs->cr3 and mode; made if needed. It stays valid until the next call. */
uint64_t tables_root(struct tables *t, const struct cpu_state *cs, enum view view);

/* Guest RAM [gpa, gpa + size) was stored to, by an emulated guest store or by the VMM. */
void tables_stored(struct tables *t, uint64_t gpa, uint64_t size);

/*
 * The guest is about to execute one instruction, a store of kind `access` to each gva[] (at most TABLES_MAX_LOANS) being
 * among what it does: where that is a table in sync (TABLES_STORE), its page is lent to the guest, so that the store will
 * just happen; other gvas are left alone. No other loan stands. Sets A and D as if it had happened. The instruction has
 * to be the last, by single step; then, or when anything else stopped the guest, tables_take_back(). Until then the
 * tables may be told of VMM stores (tables_forget()), and dropped, nothing else. If the room ran out nothing is lent.
 */
void tables_lend(struct tables *t, const struct cpu_state *cs, enum view view, unsigned int access, const uint64_t *gva,
		 size_t count);

/* What the guest may not do to a frame of RAM unseen; combine. */
enum tables_guarded { GUARD_ALL = 1, GUARD_WRITE = 2, GUARD_EXEC = 4 };

struct tables_guard {
	uint64_t gfn;
	uint32_t denies; /* enum tables_guarded */
	bool open;	 /* for the instruction that the guest is about to execute */
};

/*
 * These, at most TABLES_MAX_GUARDS and all of them closed, in place of the ones before. Where the
 * guest's tables allow an access and a guard does not, tables_fault() opens it (TABLES_GUARDED): the instruction has to be the last, by
 * single step, and when it is done, or cannot be, tables_close_guards().
 */
void tables_guard(struct tables *t, const struct tables_guard *g, unsigned int count);
bool tables_guards_open(const struct tables *t);
void tables_close_guards(struct tables *t);

/* Whether any loan stands. */
bool tables_lent(const struct tables *t);

/* Ends all loans, if any: the tables are in sync with what was written, and protected. */
void tables_take_back(struct tables *t);

/* The VMM is about to store to [gpa, gpa + size), values unknown: pages of it that are shadowed are so no longer. */
void tables_forget(struct tables *t, uint64_t gpa, uint64_t size);

/* True if the page is shadowed as a table and in sync: stores to it are emulated, and reported. */
bool tables_is_table(const struct tables *t, uint64_t gpa);

/* The guest executed INVLPG, or loaded CR3 (the same or another) or whatever else flushes its TLB. */
void tables_invlpg(struct tables *t, const struct cpu_state *cs, uint64_t gva);
void tables_load_cr3(struct tables *t, const struct cpu_state *cs);

/*
 * Edits waiting for the monitor. tables_edits_done() when it has carried out those that the last tables_edits() gave (it
 * checks that); edits that came up since then go on waiting.
 */
const struct tables_edit *tables_edits(struct tables *t, size_t *count);
void tables_edits_done(struct tables *t);

/*
 * True if everything was dropped and the pool must be recycled before the guest may run: the caller makes the host forget
 * the pool's pages, and calls tables_recycle(), which zeroes it. Roots must be asked for again.
 */
bool tables_must_recycle(const struct tables *t);
void tables_recycle(struct tables *t);

/* Drops everything (mode change, restore); tables_must_recycle() holds afterwards. */
void tables_drop_all(struct tables *t);

/*
 * ORs into `pages`, one bit a page of RAM by mem_page_number(), those the guest used since the last call: read, wrote or
 * executed through the shadow tables, in any view, and what tables_walked() was told of. Returns 1. The first call, after
 * which use is noted until tables_ignore_accessed(), leaves `pages` alone and returns 0 or a logged -errno. Either
 * drops everything.
 */
int tables_accessed(struct tables *t, uint64_t *pages);
void tables_ignore_accessed(struct tables *t);

/* The VMM walked the guest's tables for the guest and, if `used`, is about to touch the page they lead to for it. */
void tables_walked(struct tables *t, const struct walk *w, bool used);

/* The entries that lead to gva now, by level, 1 to WALK_LEVELS; 0 where there is none. For people. */
void tables_show(const struct tables *t, const struct cpu_state *cs, enum view view, uint64_t gva, uint64_t *entry);

struct tables_stats tables_stats(const struct tables *t);

/*
 * Verifies all invariants above against a naive rebuild from the guest's tables, edits taken as done. Slow. Returns NULL, or
 * what is broken, in words (a buffer of t).
 */
const char *tables_check(struct tables *t);
