/*
 * A naive model of an 8254's counter, for tests: it does one tick at a time, digit by digit, as the mode descriptions of the
 * data sheet go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* One counter. Registers hold what the chip holds: 16 bits, binary or four decimal digits. */
struct counter {
	int mode, rw;
	bool bcd, gate, out, null, has_count, load_next, counting, strobe_due, odd;
	uint16_t cr, ce;
	bool second_write, second_read;
	uint8_t first_byte, control;
	int latched, latched_status; /* -1 = not */
	bool known, latched_known; /* until a count is loaded, the data sheet does not say what is read */
	unsigned int rises;
};

static inline void counter_drive(struct counter *c, bool out)
{
	c->rises += out && !c->out;
	c->out = out;
}

static inline void counter_decrement(struct counter *c)
{
	if (!c->bcd) {
		c->ce = (uint16_t)(c->ce - 1);
		return;
	}
	for (int shift = 0; shift < 16; shift += 4) {
		if (c->ce >> shift & 15) {
			c->ce = (uint16_t)(c->ce - (1 << shift));
			return;
		}
		c->ce = (uint16_t)(c->ce + (9 << shift));
	}
}

static inline void counter_load(struct counter *c)
{
	c->load_next = c->null = false;
	c->counting = c->strobe_due = c->known = true;
	c->ce = c->cr;
	c->odd = c->cr & 1;
	if (c->mode == 3 && c->odd)
		c->ce--; /* the last digit is odd, so there is no borrow */
}

static inline void counter_tick_square(struct counter *c)
{
	if (!(c->odd && c->out && c->ce == 0)) {
		counter_decrement(c);
		counter_decrement(c);
		if (c->ce || (c->odd && c->out))
			return;
	}
	counter_drive(c, !c->out || c->cr == 1); /* a count of 1 never goes low */
	counter_load(c);
}

static inline void counter_tick_rate(struct counter *c)
{
	counter_decrement(c);
	if (c->ce == 0) {
		counter_load(c);
		counter_drive(c, c->cr != 1);
	} else {
		counter_drive(c, c->ce != 1);
	}
}

static inline void counter_tick_once(struct counter *c)
{
	counter_decrement(c);
	if (c->ce != 0)
		return;
	if (c->mode < 2)
		counter_drive(c, true);
	else if (c->strobe_due)
		counter_drive(c, false);
	c->strobe_due = false;
}

static inline void counter_tick(struct counter *c)
{
	bool strobes = c->mode == 4 || c->mode == 5;

	if (strobes)
		counter_drive(c, true); /* a strobe lasts one tick */
	if (c->load_next) {
		counter_load(c);
		if (c->mode == 1)
			counter_drive(c, false);
		if (c->mode == 2)
			counter_drive(c, c->cr != 1);
		return;
	}
	if (!c->counting || (!c->gate && c->mode != 1 && c->mode != 5))
		return;
	if (c->mode == 3)
		counter_tick_square(c);
	else if (c->mode == 2)
		counter_tick_rate(c);
	else
		counter_tick_once(c);
}

static inline void counter_new_count(struct counter *c, uint16_t count)
{
	bool first = !c->has_count;

	c->cr = count;
	c->null = c->has_count = true;
	if (c->mode == 0)
		counter_drive(c, false);
	if (c->mode == 0 || c->mode == 4 || ((c->mode == 2 || c->mode == 3) && first))
		c->load_next = true;
}

static inline void counter_write(struct counter *c, uint8_t byte)
{
	if (c->rw == 1) {
		counter_new_count(c, byte);
	} else if (c->rw == 2) {
		counter_new_count(c, (uint16_t)(byte << 8));
	} else if (c->second_write) {
		c->second_write = false;
		counter_new_count(c, (uint16_t)(byte << 8 | c->first_byte));
	} else {
		c->first_byte = byte;
		c->second_write = true;
		if (c->mode == 0) {
			c->counting = c->load_next = false;
			counter_drive(c, false);
		}
	}
}

static inline uint8_t counter_read(struct counter *c)
{
	uint16_t value = c->latched >= 0 ? (uint16_t)c->latched : c->ce;

	if (c->latched_status >= 0) {
		uint8_t status = (uint8_t)c->latched_status;

		c->latched_status = -1;
		return status;
	}
	if (c->rw == 3 && !c->second_read) {
		c->second_read = true;
		return (uint8_t)value;
	}
	c->second_read = false;
	c->latched = -1;
	return (uint8_t)(c->rw == 1 ? value : value >> 8);
}

static inline void counter_latch(struct counter *c)
{
	if (c->latched >= 0)
		return;
	c->latched = c->ce;
	c->latched_known = c->known;
	c->second_read = false;
}

static inline void counter_gate(struct counter *c, bool level)
{
	bool trigger = level && !c->gate;
	bool rate = c->mode == 2 || c->mode == 3;

	c->gate = level;
	if (rate && !level)
		counter_drive(c, true);
	if (trigger && c->has_count && (rate || c->mode == 1 || c->mode == 5))
		c->load_next = true;
}

static inline void counter_program(struct counter *c, uint8_t control)
{
	c->control = control & 0x3f;
	c->mode = control >> 1 & 7;
	if (c->mode > 5)
		c->mode &= 3;
	c->rw = control >> 4 & 3;
	c->bcd = control & 1;
	c->null = true;
	c->known = c->has_count = c->load_next = c->counting = c->strobe_due = c->second_write = c->second_read = false;
	c->latched = c->latched_status = -1;
	counter_drive(c, c->mode != 0);
}
