/*
 * One channel of an 8254 interval timer: the counter itself, in ticks of its 1193182 Hz input.
 *
 * Source: Intel 8254 data sheet (231164), "Operational Description" and "Mode Definitions".
 *
 * A channel is kept as it was after some tick and moved on when somebody looks: any number of ticks is one computation,
 * and edges fall exactly where a counting chip would have them. What the data sheet leaves open: count 1 in modes 2 and 3
 * gives no edges, BCD digits above 9 count for what they would be worth, a latch command makes the next byte read the low
 * one, modes 1 and 5 ignore a trigger before the first count.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct state;

#define PIT_HZ 1193182u
#define PIT_MAX_COUNT 0x10000u

struct pit_channel {
	uint64_t at;	 /* tick after which the rest holds */
	uint32_t count;	 /* counting element, 0..PIT_MAX_COUNT */
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

/* As after power-on: nothing programmed, OUT low. `now` is the current tick. */
void pit_channel_reset(struct pit_channel *c, uint64_t now, bool gate);

/* Moves the channel on to tick `now` (a past one changes nothing) and tells whether OUT rose. Before any of the below. */
bool pit_channel_advance(struct pit_channel *c, uint64_t now);

/* The tick at which OUT rises next if nobody touches the channel, or UINT64_MAX. */
uint64_t pit_channel_next_rise(const struct pit_channel *c);

/* The mode, 0..5. */
unsigned int pit_channel_mode(const struct pit_channel *c);

/* Bits 5:0 of a control word: a new mode. RW may not be 0. */
void pit_channel_set_control(struct pit_channel *c, uint8_t control);

/* One byte to or from the channel's port. */
void pit_channel_write(struct pit_channel *c, uint8_t value);
uint8_t pit_channel_read(struct pit_channel *c);

void pit_channel_latch_count(struct pit_channel *c);
void pit_channel_latch_status(struct pit_channel *c);
void pit_channel_set_gate(struct pit_channel *c, bool gate);

void pit_channel_visit(struct pit_channel *c, struct state *s);
