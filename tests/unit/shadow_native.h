/*
 * Runs one instruction on the real CPU, in this process, with all registers as wanted: the oracle of the emulation's tests.
 */
#pragma once

#include <stdint.h>

#include "vmm/cpu_state.h"

struct native {
	uint64_t gpr[CPU_GPR_COUNT]; /* as in struct cpu_state */
	uint64_t rip, rflags;
	uint8_t xmm[16][16];
	/* Out: the exception that ended it, or -1; its error code, and the address of a page fault. */
	int vector;
	uint32_t error;
	uint64_t cr2;
};

/* Takes over SIGTRAP, SIGSEGV, SIGBUS, SIGILL and the alternate signal stack. */
void native_start(void);

/*
 * Starts at n->rip, in executable memory whose every byte but the instruction's is INT3, and goes on to the first INT3
 * (where rip then stands) or exception. IF, IOPL and the like in n->rflags come back as this process has them.
 */
void native_run(struct native *n);

/* FS base of this process (do not touch), and a GS base of the caller's choice. */
uint64_t native_fs_base(void);
void native_set_gs_base(uint64_t base);
