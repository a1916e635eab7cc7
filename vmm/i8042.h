/*
 * The keyboard controller of a PC, an 8042 at ports 0x60 and 0x64, with neither keyboard nor mouse: kernels find it, test it,
 * and reset the machine through it.
 *
 * Source: Intel 8042 as programmed for the IBM PC AT (Technical Reference, section 4, "Keyboard Controller"). A command is done
 * at once; what it answers waits in the output buffer, and raises IRQ 1 where the command byte asks for that. There is no second
 * port: its test fails and it stays disabled. Bytes for a keyboard or mouse go nowhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/irq.h"

struct i8042 {
	struct device device;
	struct irq_line irq;
	void (*reset)(void *arg, const char *how);
	void *reset_arg;

	uint8_t command_byte;
	uint8_t output;	  /* the buffer that port 0x60 reads */
	bool output_full;
	bool tested;	  /* the self-test was passed: the status says so for ever */
	bool last_was_command;
	uint8_t command;  /* waits for its byte at port 0x60; 0 = none */
};

/* Reset, on the bus. `reset` is called on the vCPU's thread when the guest pulls the machine's reset line. */
void i8042_init(struct i8042 *k, struct bus *b, struct irq_line irq, void (*reset)(void *arg, const char *how), void *arg);
