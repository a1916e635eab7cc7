/*
 * Boot: the state and memory in which an image of each kind finds itself at its first instruction.
 *
 * Below ABI_LOAD_MIN, for all kinds:  0x1000 facts for the guest   0x2000 PML4   0x3000 PDPT   0x4000 PD
 * 0x5000 command line   0xd000 what a kind needs besides
 */
#pragma once

struct cpu_state;
struct vm;
struct vm_config;

/*
 * Loads the image and prepares for it, as boot_prepare() does; vm->loaded says where all of that went. Returns 0 or a logged -errno, which
 * is -ENOSPC also for an image that does not fit.
 */
int boot_image(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);

/*
 * Writes the boot structures, reads the initrd and modules, and gives the first vCPU's state. The image is already in RAM.
 * Returns 0 or a logged -errno: -E2BIG for a command line too long, -ENOSPC for a file that does not fit, -EINVAL for
 * modules that this kind of image does not take.
 */
int boot_prepare(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);

/* The same for one kind. */
int boot_penumbra(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);  /* abi.h */
int boot_linux(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);	 /* boot_linux.c */
int boot_pvh(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);	 /* boot_pvh.c */
int boot_solo5(struct vm *vm, const struct vm_config *config, struct cpu_state *cs);	 /* solo5_abi.h */
int boot_multiboot(struct vm *vm, const struct vm_config *config, struct cpu_state *cs); /* boot_multiboot.c */
