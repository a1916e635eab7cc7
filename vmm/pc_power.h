/*
 * The ports by which kernels of a PC end a run, other than the keyboard controller (i8042.h):
 *
 *	0x92		system control port A: bit 0 resets (IBM PS/2)
 *	0xcf9		reset control of PCI chipsets: bit 2 resets (Intel ICH data sheets, 13.7.5). An access of one byte only: others
 *			to 0xcf8-0xcff are PCI's (pci.h)
 *	0x604, 0xb004	power-off: bit 13, as in ACPI's PM1 control register (ACPI 4.8.3.2.1), where QEMU and Bochs have it
 *	0xf4		debug exit, 4 ports: ends with status (value << 1) | 1, as QEMU's isa-debug-exit
 */
#pragma once

#include <stdint.h>

#include "vmm/bus.h"

struct pci;

enum pc_end { PC_RESET, PC_POWER_OFF, PC_DEBUG_EXIT };

struct pc_power {
	struct device device;
	void (*ended)(void *arg, enum pc_end end, uint8_t status);
	void *ended_arg;
	struct pci *pci;

	uint8_t control_a;	/* port 0x92 */
	uint8_t reset_control;	/* port 0xcf9 */
};

/* Reset, on the bus. `ended` is called on the vCPU's thread; status is that of the run. pci may be NULL. */
void pc_power_init(struct pc_power *p, struct bus *b, struct pci *pci, void (*ended)(void *arg, enum pc_end end, uint8_t status), void *arg);
