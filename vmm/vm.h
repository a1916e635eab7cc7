/*
 * A virtual machine: RAM, devices, clock, one vCPU and an MMU backend, put together. Nothing in it is shared with other
 * VMs of the process but the `struct kvm` and the backend's code.
 *
 * A VM ends once, for its first reason; whose doing it was is part of the reason and never guessed afterwards.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/abi_device.h"
#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/console.h"
#include "vmm/cpu_model.h"
#include "vmm/dirty.h"
#include "vmm/i8042.h"
#include "vmm/loaded.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/pc_power.h"
#include "vmm/pci.h"
#include "vmm/pic8259.h"
#include "vmm/pit8254.h"
#include "vmm/rtc.h"
#include "vmm/save_stats.h"
#include "vmm/slots.h"
#include "vmm/solo5_device.h"
#include "vmm/uart16550.h"
#include "vmm/userfault.h"
#include "vmm/vcpu.h"
#include "vmm/virtio_devices.h"

struct cpu_state;
struct debug;
struct image;
struct kvm;
struct kvm_cpuid2;
struct solo5_options;
struct steerer;
struct steering;

enum vm_end_kind {
	VM_RUNNING,
	VM_EXITED,     /* the guest ended itself; code is its own */
	VM_KILLED,     /* for what the guest did */
	VM_TIMED_OUT,  /* --timeout: the guest did not end in time */
	VM_HOST_LIMIT, /* this host, or this mode on this host, cannot do what the guest asks rightly */
	VM_HOST_FAILED,
	VM_STOPPED,    /* by the user */
	VM_REPLAYED,   /* as far as it was recorded or asked for */
	VM_DIVERGED,   /* it did not do again what was recorded */
	VM_BAD_INPUT,  /* what it is to be given cannot be */
};

struct vm_end {
	enum vm_end_kind kind;
	uint8_t code;
	bool said;    /* a failure of the host that has been logged already */
	bool has_rip; /* of the guest, when it was ended for what it did */
	uint64_t rip;
	char reason[224];
};

/* A file for the guest, with a string of its own. */
struct vm_module {
	const char *path, *cmdline;
};

#define VM_MAX_MODULES 16u

/*
 * Where a guest comes from that is not booted: whoever has its state embeds this, and brings it. RAM is all zero, the devices
 * are reset, and the clock stands at 0. Returns 0 or a logged -errno.
 */
struct vm_origin {
	int (*bring)(const struct vm_origin *o, struct vm *vm, struct cpu_state *cs);
	struct cpu_features cpu; /* in place of a model and what the host adds to it */
};

/*
 * What a feature keeps for a VM, whose list it joins (vm_keep()): whoever embeds this is told when the VM is destroyed, its guest gone and
 * all else still there.
 */
struct vm_keep {
	void (*end)(struct vm_keep *k, struct vm *vm);
	struct vm_keep *next;
};

struct vm_config {
	const struct kvm *kvm;
	const struct mmu_ops *mmu;
	const struct image *image;
	const struct vm_origin *origin; /* NULL = the image is booted */
	const char *cmdline;	 /* what the guest gets as its command line */
	const char *initrd;	 /* path, NULL = none */
	const struct vm_module *module;	/* further files for the guest, in order */
	unsigned int module_count;
	const struct solo5_options *solo5; /* devices for a Solo5 unikernel, NULL = none */
	bool solo5_absent; /* there are none: it is replayed */
	enum cpu_model cpu;
	uint64_t mem;		 /* bytes of RAM */
	enum mem_huge huge;
	unsigned int number;	 /* of this VM in the process, from 0 */
	struct console_config console;
	struct disk *disks;	 /* open; must outlive the VM */
	unsigned int disk_count; /* at most DISK_MAX */
	struct steerer *steerer; /* NULL = nobody; must outlive the VM */
	struct debug *debug;	 /* the same */
	bool balloon;		 /* the guest can say which pages it has freed */
	bool virtio_console;	 /* input goes to a virtio console instead of the UART; output comes from both */
};

struct vm {
	const struct kvm *kvm;
	const struct image *image; /* what it was launched from */
	struct kvm_cpuid2 *cpuid; /* the CPU model */
	uint32_t abi_cpu;	  /* ABI_CPU_* facts told to the guest; the backend may add to them */
	int fd;
	unsigned int number;
	struct mem mem;
	struct slots slots;
	struct dirty dirty;
	struct loaded loaded; /* empty where the image was not booted */
	struct userfault userfault;
	struct save_stats saves;
	struct vm_keep *kept;
	struct steering *steering; /* NULL = it runs freely */
	struct debug *debug;	   /* NULL = nobody debugs it */
	struct bus bus;
	struct clock clock;
	struct pic8259 pic;
	struct pit8254 pit;
	struct uart16550 uart;
	struct rtc rtc;
	struct abi_device abi; /* all but kernels of a PC have it: image_is_pc() */
	struct i8042 keyboard; /* they have these two instead */
	struct pc_power power;
	struct pci pci;
	struct solo5_device solo5; /* Solo5 unikernels have this one instead */
	struct virtio_devices virtio;
	struct console console;
	struct vcpu vcpu;
	const struct mmu_ops *mmu;
	void *mmu_data; /* the backend's */
	bool attached;	/* to `mmu`; false only while that is being made, or has failed */
	struct vm_end end;
	_Atomic bool paused; /* the guest and its clock stand still */
	_Atomic int asked_end; /* enum vm_end_kind that another thread asked for first */
	char ram_lost[192];    /* why, once mem_is_lost(); then that is why the VM ends, whatever it does afterwards */
};

/*
 * Makes a VM ready to run its image. The config and what it points to must outlive the call only, except kvm, mmu, the
 * image, which stays open, and the disks. Returns 0 or a logged -errno, with nothing left behind.
 */
int vm_create(struct vm *vm, const struct vm_config *config);
void vm_destroy(struct vm *vm);

/*
 * The vCPU's thread, between guest runs: has the VM stand between two guest instructions with nothing half done, and exports the
 * vCPU. From here until the guest runs again all of its state is in *cs, RAM and the devices. The guest may have ended on the
 * way (vm_ended()): then there is no state. Returns 0 or a logged -errno.
 */
int vm_settle(struct vm *vm, struct cpu_state *cs);

/*
 * The vCPU's thread, after vm_settle(), and after RAM was written to be as it belongs to *cs: goes on from there, whatever the vCPU
 * did before. Returns 0 or a logged -errno: then the VM cannot run any more.
 */
int vm_go_on_from(struct vm *vm, const struct cpu_state *cs);

/* The vCPU's thread: ends the VM unless it has ended already. The reason is one line, for people. */
void vm_end(struct vm *vm, enum vm_end_kind kind, uint8_t code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Any thread: has the VM end soon as VM_STOPPED or VM_TIMED_OUT, unless it ends by itself first. */
void vm_ask_end(struct vm *vm, enum vm_end_kind kind);

/* The vCPU's thread, between guest runs: stops or continues the guest and its clock. */
void vm_pause(struct vm *vm, bool pause);

/*
 * The vCPU's thread, between guest runs: goes on under another MMU mode, at the same guest instruction. Returns 0, or a logged
 * -errno: then the VM goes on as it was, or has ended as failed if even that could not be restored.
 */
int vm_change_mmu(struct vm *vm, const struct mmu_ops *to);

#define vm_kill(vm, ...) vm_end(vm, VM_KILLED, 0, __VA_ARGS__)
#define vm_fail(vm, ...) vm_end(vm, VM_HOST_FAILED, 0, __VA_ARGS__)

/* The same after a logged -errno, so that the program does not say it twice: `what` it was in, and the errno's words. */
void vm_fail_said(struct vm *vm, const char *what, int error);

static inline bool vm_ended(const struct vm *vm)
{
	return vm->end.kind != VM_RUNNING;
}

/* The vCPU's thread. */
static inline void vm_keep(struct vm *vm, struct vm_keep *k)
{
	k->next = vm->kept;
	vm->kept = k;
}

/* Name of an end's kind as statistics print it, and whose doing it was ("guest", "host", "user"). */
const char *vm_end_name(enum vm_end_kind kind);
const char *vm_end_whose(enum vm_end_kind kind);

/* Exit status of the program for this end, as design and manual page say. */
int vm_end_status(const struct vm_end *end);
