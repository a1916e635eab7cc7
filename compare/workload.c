#include "compare/workload.h"

#include <string.h>

#define CHASE_STEPS 200000u
#define UPDATE_STEPS 400000u

/* The same references to five sizes of memory around what the TLB reaches. */
#define REACH_ROW(operation, pages, steps, size, eighths, what, amount, isolates)                               \
	{ operation "-" size, WORKLOAD_REACH, pages, operation, steps, eighths, what amount, isolates }
#define REACH_ROWS(operation, pages, steps, what, isolates)                                                     \
	REACH_ROW(operation, pages, steps, "half", 4, what, "half the TLB's reach", isolates),                  \
	REACH_ROW(operation, pages, steps, "1x", 8, what, "the TLB's reach", isolates),                         \
	REACH_ROW(operation, pages, steps, "2x", 16, what, "twice the TLB's reach", isolates),                  \
	REACH_ROW(operation, pages, steps, "4x", 32, what, "4 times the TLB's reach", isolates),                \
	REACH_ROW(operation, pages, steps, "8x", 64, what, "8 times the TLB's reach", isolates)

const struct workload workloads[] = {
	{ "system-call", WORKLOAD_NANO, WORKLOAD_4K, "syscall", 200, 0,
	  "ask the guest kernel for the pid, by int $4 from ring 3 and back",
	  "The way into the guest kernel and out of it: the hardware's own under nested paging, two exits under a shadow "
	  "whose kernel is in ring 3." },
	{ "port-in", WORKLOAD_NANO, WORKLOAD_4K, "port-in", 300, 0, "read 32 bits from a port of the VMM, in ring 0",
	  "An exit that no mode can avoid, up to the VMM's device and back: what differs between modes is only how the "
	  "instruction gets there." },
	{ "cr0-write", WORKLOAD_NANO, WORKLOAD_4K, "cr0-write", 300, 0, "change CR0.TS, in ring 0",
	  "A privileged instruction that has nothing to do with paging: emulated where the kernel is not in ring 0, and "
	  "elsewhere an exit only if the hardware cannot keep the register for the guest." },
	{ "cr3-write", WORKLOAD_NANO, WORKLOAD_4K, "cr3-write", 200, 0,
	  "load CR3 with the value it has, and read a page, in ring 0",
	  "The cheapest thing that concerns page tables: the hardware drops its translations, a shadow must also make sure "
	  "that its own are still true." },
	{ "call-return", WORKLOAD_NANO, WORKLOAD_4K, "call", 2000000, 0, "call a function and return from it, in ring 3",
	  "Nothing that any mode has to watch: the times are the same, or something else is wrong." },
	{ "page-fault", WORKLOAD_NANO, WORKLOAD_4K, "page-fault", 150, 0,
	  "read from an absent page in ring 3, which the guest kernel answers by going on behind",
	  "A true fault, the guest's own business: a shadow sees it first, finds that it is not its doing, and hands it to "
	  "the guest kernel." },
	{ "kernel-page-fault", WORKLOAD_NANO, WORKLOAD_4K, "kernel-fault", 100, 0,
	  "read from an absent page in ring 0, which the guest kernel answers by going on behind",
	  "The same without a change of rings, as when a kernel reads where it was told to by a program." },
	{ "divide-fault", WORKLOAD_NANO, WORKLOAD_4K, "divide-fault", 150, 0,
	  "divide by zero in ring 3, which the guest kernel answers by going on behind",
	  "An exception that paging has no part in, as the page fault's companion: what is left is entering and leaving "
	  "the guest kernel." },
	{ "pte-modify", WORKLOAD_NANO, WORKLOAD_4K, "pte-modify", 100, 0,
	  "let a page-table entry lead to another page, INVLPG, read through it, in ring 0",
	  "One change of a mapping and its use: a store, a flush and a walk under nested paging, work in both sets of "
	  "tables under a shadow." },
	{ "pte-batch", WORKLOAD_NANO, WORKLOAD_4K, "pte-batch", 3072, 0,
	  "change an entry, 512 of one table at a time, then load CR3 and read all its pages, in ring 0",
	  "What changing entries costs when a kernel changes many before it uses any: a shadow may let the table be for so "
	  "long and look at it once." },

	{ "switch-2", WORKLOAD_SPACES, WORKLOAD_4K, "switch", 200, 0,
	  "load CR3 with the next of 2 address spaces, and read a page of its own, in ring 0",
	  "Going back and forth between two spaces whose tables do not change: a shadow that keeps both has nothing to "
	  "build anew." },
	{ "switch-8", WORKLOAD_SPACES, WORKLOAD_4K, "switch-8", 200, 0, "the same with 8 address spaces in turn",
	  "As switch-2, with as many spaces as a shadow must be able to keep." },
	{ "switch-32", WORKLOAD_SPACES, WORKLOAD_4K, "switch-32", 256, 0, "the same with 32 address spaces in turn",
	  "As switch-2, with more spaces than many a shadow keeps: one that does not would build every one anew." },
	{ "invlpg", WORKLOAD_SPACES, WORKLOAD_4K, "invlpg", 200, 0, "INVLPG of a mapped page, and read it, in ring 0",
	  "A flush of one page that has not changed: an instruction for the hardware, an exit and a look at the guest's "
	  "entry for a shadow." },
	{ "hidden-fault", WORKLOAD_SPACES, WORKLOAD_4K, "touch-alias", 2048, 0,
	  "write for the first time to a page that is mapped and present, with A and D set, in ring 3",
	  "A fault that only a shadow has, which fills its entries the first time they are used; how many it fills at "
	  "once decides. Under nested paging this is a TLB miss." },
	{ "ad-fault", WORKLOAD_SPACES, WORKLOAD_4K, "touch-alias-clear", 256, 0,
	  "write for the first time to a page that is mapped and present, with A and D clear, in ring 3",
	  "As hidden-fault, but A and D have to be set in the guest's entry when it is first used, not before: the hardware "
	  "does that in its walk, a shadow by a fault for each page." },
	{ "directory-write", WORKLOAD_SPACES, WORKLOAD_4K, "pde-write", 100, 0,
	  "let two entries of a page directory change places, INVLPG, read through one, in ring 0",
	  "A change above the last level, each of which replaces what 2 MiB are mapped to." },

	{ "fork", WORKLOAD_PROCESSES, WORKLOAD_4K, "fork", 8, 0,
	  "fork a process with 256 pages of heap, have the child exit, wait for it",
	  "Every entry made read-only and copied, a few pages copied at the first write, everything taken down again: the "
	  "heaviest thing that ordinary programs ask of page tables." },
	{ "map-1", WORKLOAD_PROCESSES, WORKLOAD_4K, "map-1", 80, 0, "map a page that is in memory, write to it, unmap it",
	  "Mapping and unmapping by two system calls, with next to nothing between: the fixed part." },
	{ "map-32", WORKLOAD_PROCESSES, WORKLOAD_4K, "map-32", 40, 0,
	  "map 32 pages that are in memory, write to each, unmap them",
	  "A buffer or a small file: the part for each page begins to show." },
	{ "map-1024", WORKLOAD_PROCESSES, WORKLOAD_4K, "map-1024", 3, 0,
	  "map 1,024 pages that are in memory, write to each, unmap them",
	  "Two tables' worth of pages: the part for each page is all, and whole tables come and go." },
	{ "demand-zero", WORKLOAD_PROCESSES, WORKLOAD_4K, "demand-zero", 128, 0,
	  "write to a fresh page of the heap, for which the guest kernel finds a page of zeros in its fault handler",
	  "A true fault, a change of an entry and the first use of it for each page: how programs get their memory. Zeroing "
	  "is not part of it." },

	REACH_ROWS("chase-4k", WORKLOAD_4K, CHASE_STEPS,
		   "go to the next line of a random cycle, one line in each 4 KiB, in 4 KiB pages, over ",
		   "Each reference waits for the one before, so that a TLB miss costs its whole page walk: the longer the walk "
		   "of a mode, the more time."),
	REACH_ROWS("chase-2m", WORKLOAD_2M, CHASE_STEPS,
		   "go to the next line of a random cycle, one line in each 4 KiB, in 2 MiB pages, over ",
		   "The lines and the order of chase-4k, so the same cache misses; 2 MiB pages leave few walks, and shorter ones, "
		   "if the host has large pages below."),
	REACH_ROWS("update-4k", WORKLOAD_4K, UPDATE_STEPS,
		   "change a word of a random line, one line in each 4 KiB, in 4 KiB pages, over ",
		   "References do not wait for one another, so that the processor may walk for several at once and hide a part "
		   "of what chase-4k shows."),
	REACH_ROWS("update-2m", WORKLOAD_2M, UPDATE_STEPS,
		   "change a word of a random line, one line in each 4 KiB, in 2 MiB pages, over ",
		   "The lines and the order of update-4k, so the same cache misses; 2 MiB pages leave few walks, and shorter "
		   "ones, if the host has large pages below."),

	{ "units", WORKLOAD_MIXED, WORKLOAD_4K, "units", 6, 0,
	  "fork and exec a process that takes 24 pages as it goes, computes for a moment and exits; wait for it",
	  "The pattern of a compilation, many short processes: fork, demand paging, computing and exit in the proportions "
	  "of a real load." },
	{ "compute", WORKLOAD_MIXED, WORKLOAD_4K, "compute", 5000, 0,
	  "1,000 steps of arithmetic that depend on one another, in ring 3",
	  "Steady computing without memory: no mode costs anything, and times that differ say how noisy the host is." },
	{ "kernel-compute", WORKLOAD_MIXED, WORKLOAD_4K, "kernel-compute", 100, 0, "the same 1,000 steps in ring 0",
	  "The same for the guest kernel, which the hardware runs as fast as anything, unless the host has to interpret "
	  "ring 0." },
};

const size_t workload_count = sizeof(workloads) / sizeof(*workloads);

static const char *const group_names[WORKLOAD_GROUPS] = {
	[WORKLOAD_NANO] = "nanobenchmarks", [WORKLOAD_SPACES] = "spaces", [WORKLOAD_PROCESSES] = "processes",
	[WORKLOAD_REACH] = "reach", [WORKLOAD_MIXED] = "mixed",
};

const struct workload *workload_find(const char *name)
{
	for (size_t i = 0; i < workload_count; i++)
		if (!strcmp(workloads[i].name, name))
			return &workloads[i];
	return NULL;
}

const char *workload_group_name(enum workload_group group)
{
	return group_names[group];
}
