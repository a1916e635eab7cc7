/*
 * An 8254 interval timer as in a PC: ports 0x40-0x43 and the system control port 0x61. Channel 0 drives IRQ 0, channel 2
 * is gated by bit 0 of port 0x61, the other gates are always high.
 *
 * Source: Intel 8254 data sheet (231164), "Operational Description"; port 0x61: Intel 82371AB
 * (PIIX4) data sheet, 4.2.3.
 *
 * Towards the interrupt controller the low phases of modes 2 to 5 shrink to a pulse right before the rising edge, and of
 * several edges missed only one is told, so a late VMM neither loses the last tick nor replays the others.
 */
#pragma once

#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/irq.h"
#include "vmm/pit_channel.h"

#define PIT_CHANNELS 3u

struct pit8254 {
	struct device device;
	struct clock *clock;
	struct clock_timer timer; /* the next rising edge of channel 0 */
	struct irq_line irq;
	struct pit_channel channel[PIT_CHANNELS];
	uint8_t control61; /* bits 3:0 of port 0x61 */
};

/* Reset, on the bus, its timer with the clock. Drives the line at once: its controller must be there already. */
void pit_init(struct pit8254 *p, struct bus *b, struct clock *c, struct irq_line irq);
