/*
 * What this host really does underneath KVM's guest paging. A number taken without nested paging is never called EPT or
 * NPT, so every result is stamped with this.
 */
#pragma once

#include <stdbool.h>

struct host_mmu {
	const char *name;   /* "ept", "npt", "kvm-shadow", "pvm-shadow", "unknown", "none": the stamp in results */
	const char *module; /* KVM's vendor module: "kvm_intel", "kvm_amd", "kvm_pvm", or "" */
	const char *words;  /* for people */
	bool nested;	    /* the CPU walks two dimensions */
	bool ring0_interpreted;	/* guest ring 0 runs in KVM's instruction emulator */
	bool syscall_enters_ring0; /* SYSCALL from ring 3 works as it should */
};

/* Asks sysfs (below `root`, "" for the real one). Never fails: what cannot be found out is "unknown". */
struct host_mmu host_mmu_detect(const char *root);
