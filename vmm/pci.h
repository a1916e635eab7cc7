/*
 * A PCI bus, as small as kernels of a PC need one to find their devices: configuration mechanism 1 by the ports 0xcf8 and
 * 0xcfc, a host bridge, and functions with one window of device memory and one interrupt line each. There is no firmware to
 * hand out addresses, so functions come with theirs: they may be asked how large they are, and not be moved. They answer there
 * whether the driver has enabled that or not.
 *
 * Source: PCI Local Bus Specification 3.0, sections 3.2.2.3.2 (configuration mechanism), 6.1 and 6.2 (configuration space).
 *
 * The ports belong to who owns port 0xcf9 among them (pc_power.h), which hands on what is not its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"

#define PCI_MAX_FUNCTIONS 8u /* device numbers on bus 0; number 0 is the host bridge */
#define PCI_CONFIG_BYTES 256u
#define PCI_CAPABILITIES 0x40u /* offset of the first, if a function has some */

/* What a driver sees; little endian, filled by who makes the function. */
struct pci_function {
	uint8_t config[PCI_CONFIG_BYTES];
	uint32_t window; /* bytes of its device memory, a power of two; 0 = none */
	uint8_t irq;
};

/* What a function is: offsets 0, 2, 8 (class, subclass, interface), 0x2c and 0x2e. */
struct pci_identity {
	uint16_t vendor, device;
	uint32_t class_code;
	uint16_t subsystem_vendor, subsystem;
};

struct pci {
	struct device device;
	uint32_t address; /* port 0xcf8 */
	struct pci_function bridge;
	struct pci_function *function[PCI_MAX_FUNCTIONS]; /* by device number; not owned */
};

/* Reset, on the bus, with the host bridge. */
void pci_init(struct pci *p, struct bus *b);

/* An access at offset a->addr from port 0xcf8. */
void pci_ports(struct pci *p, struct access *a);

/*
 * Makes a function with its memory at gpa `window`, `window_bytes` of it, whose line is input `irq` of the interrupt controller
 * (INTA); and adds it as device `number`.
 */
void pci_add(struct pci *p, unsigned int number, struct pci_function *f, const struct pci_identity *id, uint32_t window,
	     uint32_t window_bytes, uint8_t irq);
