/*
 * Boot: the state and memory in which a guest image finds itself at its first instruction, as abi.h promises.
 *
 * Below ABI_LOAD_MIN:  0x1000 struct abi_boot   0x2000 PML4   0x3000 PDPT   0x4000 PD   0x5000 command line
 */
#pragma once

struct cpu_state;
struct vm;
struct vm_config;

#define BOOT_INFO_GPA 0x1000ull
#define BOOT_PML4_GPA 0x2000ull
#define BOOT_PDPT_GPA 0x3000ull
#define BOOT_PD_GPA 0x4000ull
#define BOOT_CMDLINE_GPA 0x5000ull
#define BOOT_CMDLINE_MAX 0x8000u /* bytes, with the NUL */

/*
 * Writes the boot structures, reads the initrd, and gives the first vCPU's state. The image is already in RAM. Returns 0
 * or a logged -errno: -E2BIG for a command line too long, -ENOSPC for an initrd that does not fit.
 */
int boot_prepare(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);
