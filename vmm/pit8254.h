/*
 * An 8254 interval timer as in a PC: ports 0x40-0x43 and the system control port 0x61. Channel 0 drives IRQ 0, channel 2
 * is gated by bit 0 of port 0x61, the other gates are always high.
 *
 * Source: Intel 8254 data sheet (231164), "Operational Description" and "Mode Definitions"; port 0x61: Intel 82371AB
 * (PIIX4) data sheet, 4.2.3.
 *
 * A channel is kept as it was after some tick of its input and moved on when somebody looks: any number of ticks is one
 * computation, and edges fall exactly where a counting chip would have them. Towards the interrupt controller the low
 * phases of modes 2 to 5 shrink to a pulse right before the rising edge, and of several edges missed only one is told, so
 * a late VMM neither loses the last tick nor replays the others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/irq.h"

#define PIT_HZ 1193182u
#define PIT_CHANNELS 3u

struct pit_channel {
	uint64_t at;	 /* tick after which the rest holds */
	uint32_t count;	 /* counting element, 0..0x10000 */
	uint16_t reload; /* count register as written, 0 = the largest */
	uint8_t control; /* bits 5:0 of the control word: RW, mode, BCD */
	bool gate;
	bool out;
	bool written; /* a whole count was given since the control word */
	bool load;    /* the next tick loads the counting element */
	bool running; /* it has been loaded and counts if the gate lets it */
	bool null_count; /* `reload` is not in the counting element yet */
	bool armed;   /* modes 0, 1, 4, 5: OUT still changes when the count reaches 0 */
	bool odd;     /* mode 3: the count loaded last was odd */

	bool write_high; /* the next byte written is the second of two */
	bool read_high;  /* the next byte read is */
	uint8_t write_low;
	bool count_latched;
	bool status_latched;
	uint16_t latched_count;
	uint8_t latched_status;
};

struct pit8254 {
	struct device device;
	struct clock *clock;
	struct clock_timer timer; /* the next rising edge of channel 0 */
	struct irq_line irq;
	struct pit_channel channel[PIT_CHANNELS];
	uint8_t control61; /* bits 3:0 of port 0x61 */
};

/* Reset, on the bus, its timer with the clock. */
void pit_init(struct pit8254 *p, struct bus *b, struct clock *c, struct irq_line irq);
