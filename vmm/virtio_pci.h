/*
 * Registers of a virtio device as a PCI function: for kernels that look for their devices on PCI, as distributions' do.
 *
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, section 4.1 (virtio over PCI bus). Modern devices with one memory window and
 * INTx; no MSI-X, and no access to the window through configuration space (4.1.4.9), which only firmware uses.
 */
#pragma once

#include "vmm/pci.h"
#include "vmm/virtio_device.h"

extern const struct virtio_transport virtio_pci;

/* Shows v, whose window is at `gpa` and whose interrupt is line `irq`, as device `number` of the PCI bus by way of f. */
void virtio_pci_add(struct pci *p, unsigned int number, struct pci_function *f, struct virtio_device *v, uint32_t gpa,
		    uint8_t irq);
