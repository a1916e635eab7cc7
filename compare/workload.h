/*
 * The workloads of `penumbra compare`: what the benchmark guest (guest/images/mmucost.c) is asked to do, and what the time it
 * takes says. One table; everything else reads it.
 */
#pragma once

#include <stddef.h>

enum workload_group {
	WORKLOAD_NANO,	    /* one privileged or faulting thing, over and over: the classic comparison */
	WORKLOAD_SPACES,    /* what a kernel does to its page tables and address spaces */
	WORKLOAD_PROCESSES, /* fork, exit, mmap, demand paging: what a system call of a real kernel comes to */
	WORKLOAD_REACH,	    /* memory beyond the TLB: what a longer page walk costs */
	WORKLOAD_MIXED,	    /* steady computing, and loads like those of people */
	WORKLOAD_GROUPS,
};

/* How the guest maps what it works on: the level of its last-level entries, for the length of a page walk. */
enum workload_pages { WORKLOAD_4K = 1, WORKLOAD_2M = 2 };

struct workload {
	const char *name;	/* of the row, and on the command line: "page-fault" */
	enum workload_group group;
	enum workload_pages pages;
	const char *operation;	/* mmucost's first argument */
	unsigned int count;	/* its second: how many operations are timed in one run */
	/*
	 * Its third, unless 0: how much memory, in eighths of what the TLB of the host reaches with 4 KiB pages (4: half of
	 * it; 64: eight times). The guest gets pages of 4 KiB, also where it maps them as large ones.
	 */
	unsigned int reach;
	const char *what;	/* one operation, in a few words: "change CR0.TS, in ring 0"; below 200 bytes */
	const char *isolates;	/* one sentence: what its time says, for documentation and report */
};

/*
 * By group, in the order of the groups. A guest needs 32 MiB of RAM, and what `reach` says with 2 MiB to round it up: 128 MiB
 * are enough for all where the TLB reaches up to 11 MiB.
 */
extern const struct workload workloads[];
extern const size_t workload_count;

/* NULL if there is none of that name. */
const struct workload *workload_find(const char *name);

/* In one word, as on the command line: "nanobenchmarks", ... */
const char *workload_group_name(enum workload_group group);
