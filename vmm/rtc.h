/*
 * An MC146818 real-time clock with 128 bytes of CMOS RAM: index port 0x70, data port 0x71, IRQ 8. Byte 0x32 is the
 * century, in the format of the other time bytes.
 *
 * Source: Motorola MC146818 data sheet, "Register A" to "Register D" and "Update Cycle".
 *
 * The time bytes are RAM, as in the chip: a guest may leave any bytes there, and once a second (while neither SET nor the
 * divider's reset holds it) they move on. Missed seconds are made up in one step when somebody looks. At reset they show
 * the clock's wall time. An update takes no time; UIP announces it 244 us ahead. The divider runs at 32768 Hz unless
 * reset, whatever time base is selected.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/clock.h"
#include "vmm/irq.h"

#define RTC_CMOS_SIZE 128u

struct rtc {
	struct device device;
	struct clock *clock;
	struct clock_timer timer; /* the next event that raises the interrupt */
	struct irq_line irq;
	uint8_t cmos[RTC_CMOS_SIZE]; /* registers A-D too; IRQF of C and UIP of A are computed */
	uint8_t index;
	uint64_t phase;	 /* ns, below a second: divider time = wall time + phase */
	uint64_t second; /* divider time, in s, of the last update */
	uint64_t cycle;	 /* divider time, in 1/32768 s, at which PF was looked at last */
};

/* Reset, on the bus, its timer with the clock. Drives the line at once: its controller must be there already. */
void rtc_init(struct rtc *r, struct bus *b, struct clock *c, struct irq_line irq);
