/*
 * The virtio devices of a VM, each in its slot of abi.h: the disks from slot 0 on, then the entropy device, the console and the
 * balloon, if there is one. A kernel of a PC finds them on PCI (virtio_pci.h), as device 1 + slot, any other guest by their registers in
 * the slot (virtio_mmio.h). A guest without drivers for them does not notice any.
 */
#pragma once

#include <stdbool.h>

#include "vmm/disk.h"
#include "vmm/pci.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_block.h"
#include "vmm/virtio_console.h"
#include "vmm/virtio_entropy.h"

struct vm;
struct vm_config;

struct virtio_devices {
	struct pci_function function[PCI_MAX_FUNCTIONS]; /* of a kernel of a PC, by slot */
	struct virtio_block block[DISK_MAX];
	unsigned int block_count;
	struct virtio_entropy entropy;
	struct virtio_console console;
	bool has_console;
	struct virtio_balloon balloon;
	bool has_balloon;
};

/* Puts them on the VM's bus; the disks must outlive them. The bus, the interrupt controller and the console must be there. */
void virtio_devices_init(struct virtio_devices *d, struct vm *vm, const struct vm_config *config);

/* While RAM and the vCPU are still there: requests of disks may be under way. */
/* For who steers (steering.h): what disks bring comes when it is asked for, and passes the access seam. */
void virtio_devices_show(struct virtio_devices *d, struct vm *vm);
void virtio_devices_hide(struct virtio_devices *d);
void virtio_devices_destroy(struct virtio_devices *d);

/* The vCPU's thread: tells the guest what has ended meanwhile. The vCPU is kicked when there is something. */
void virtio_devices_take(struct virtio_devices *d);

/* The vCPU's thread: sleeps until nothing is under way any more, and tells the guest. */
void virtio_devices_settle(struct virtio_devices *d);
