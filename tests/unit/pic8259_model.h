/*
 * A naive model of the 8259 pair, for tests: it keeps one record for each of the 16 inputs and works out priorities by rank.
 */
#pragma once

#include <stdbool.h>

#include "tests/unit/expect.h"

/* The word that the data port takes next. */
enum { EXPECT_MASK, EXPECT_BASE, EXPECT_CASCADE, EXPECT_MODES };

struct input {
	bool high, edge, masked, in_service, level_bit;
};

/* One chip as the data sheet talks about it. */
struct model_chip {
	struct input in[8];
	int expect, base, slave_bits, bottom;
	bool working, single, wants_modes, all_level, aeoi, rotate, sfnm, smm, show_isr, poll;
};

struct model {
	struct model_chip chip[2];
};

static inline bool model_requests(const struct model *m, int chip, int n);

static inline int rank(const struct model_chip *c, int n)
{
	return (n - c->bottom - 1 + 16) % 8;
}

/* The input that would win now, -1 = none. */
static inline int model_winner(const struct model *m, int chip)
{
	const struct model_chip *c = &m->chip[chip];
	int best = -1;

	if (!c->working)
		return -1;
	for (int n = 0; n < 8; n++) {
		bool held_back = false;

		if (!model_requests(m, chip, n) || c->in[n].masked)
			continue;
		for (int other = 0; other < 8; other++) {
			bool counts = c->in[other].in_service && !(c->smm && c->in[other].masked);

			if (!counts || rank(c, other) > rank(c, n))
				continue;
			if (other == n && c->sfnm && chip == 0 && n == 2 && !c->single && c->slave_bits & 4)
				continue;
			held_back = true;
		}
		if (!held_back && (best < 0 || rank(c, n) < rank(c, best)))
			best = n;
	}
	return best;
}

static inline bool model_requests(const struct model *m, int chip, int n)
{
	const struct model_chip *c = &m->chip[chip];

	if (chip == 0 && n == 2)
		return model_winner(m, 1) >= 0;
	return c->all_level || c->in[n].level_bit ? c->in[n].high : c->in[n].edge;
}

static inline void model_set(struct model *m, unsigned int n, bool high)
{
	struct input *in = &m->chip[n / 8].in[n % 8];

	if (high && !in->high)
		in->edge = true;
	if (!high)
		in->edge = false;
	in->high = high;
}

static inline int model_take(struct model *m, int chip)
{
	struct model_chip *c = &m->chip[chip];
	int n = model_winner(m, chip);

	if (n < 0)
		return -1;
	c->in[n].edge = false;
	c->in[n].in_service = !c->aeoi;
	if (c->aeoi && c->rotate)
		c->bottom = n;
	return n;
}

static inline int model_acknowledge(struct model *m)
{
	bool cascade = !m->chip[0].single && m->chip[0].slave_bits & 4;
	int slave_wants = model_winner(m, 1), n;

	n = model_take(m, 0);
	if (n != 2 || !cascade)
		return m->chip[0].base + (n < 0 ? 7 : n);
	expect(slave_wants >= 0);
	if (m->chip[1].slave_bits % 8 != 2)
		return 255;
	return m->chip[1].base + model_take(m, 1);
}

static inline int model_bits(const struct model *m, int chip, char which)
{
	const struct model_chip *c = &m->chip[chip];
	int bits = 0;

	for (int n = 0; n < 8; n++) {
		bool set = which == 'm' ? c->in[n].masked : which == 's' ? c->in[n].in_service :
			   which == 'l' ? c->in[n].level_bit : model_requests(m, chip, n);

		bits |= set << n;
	}
	return bits;
}

static inline void model_init_word(struct model_chip *c, int value)
{
	for (int n = 0; n < 8; n++)
		c->in[n].edge = c->in[n].masked = c->in[n].in_service = false;
	c->bottom = 7;
	c->working = c->aeoi = c->rotate = c->sfnm = c->smm = c->show_isr = c->poll = false;
	c->slave_bits = 0;
	c->all_level = value & 8;
	c->single = value & 2;
	c->wants_modes = value & 1;
	c->expect = EXPECT_BASE;
}

static inline void model_end(struct model_chip *c, int n, bool rotate)
{
	if (n < 0) /* unspecific: the one of best rank */
		for (int i = 0; i < 8; i++)
			if (c->in[i].in_service && !(c->smm && c->in[i].masked) && (n < 0 || rank(c, i) < rank(c, n)))
				n = i;
	if (n < 0)
		return;
	c->in[n].in_service = false;
	if (rotate)
		c->bottom = n;
}

static inline void model_command(struct model_chip *c, int value)
{
	if (value & 0x10) {
		model_init_word(c, value);
	} else if (value & 8) {
		if (value & 0x40)
			c->smm = value & 0x20;
		if (value & 2)
			c->show_isr = value & 1;
		c->poll = value & 4;
	} else if (value & 0x20) {
		model_end(c, value & 0x40 ? value & 7 : -1, value & 0x80);
	} else if (value & 0x40) {
		if (value & 0x80)
			c->bottom = value & 7;
	} else {
		c->rotate = value & 0x80;
	}
}

static inline void model_data(struct model_chip *c, int value)
{
	int was = c->expect;

	if (was == EXPECT_MASK) {
		for (int n = 0; n < 8; n++)
			c->in[n].masked = value >> n & 1;
		return;
	}
	if (was == EXPECT_BASE)
		c->base = value / 8 * 8;
	if (was == EXPECT_CASCADE)
		c->slave_bits = value;
	if (was == EXPECT_MODES) {
		c->aeoi = value & 2;
		c->sfnm = value & 16;
	}
	if (was == EXPECT_BASE && !c->single)
		c->expect = EXPECT_CASCADE;
	else if (was != EXPECT_MODES && c->wants_modes)
		c->expect = EXPECT_MODES;
	else
		c->expect = EXPECT_MASK;
	c->working = c->expect == EXPECT_MASK;
}

static inline void model_out(struct model *m, unsigned int port, int value)
{
	struct model_chip *c = &m->chip[port >= 0xa0];

	if (port >= 0x4d0) {
		for (int n = 0; n < 8; n++) {
			int line = n + 8 * (port == 0x4d1);
			bool fixed = line <= 2 || line == 8 || line == 13;

			m->chip[port & 1].in[n].level_bit = !fixed && value >> n & 1;
		}
	} else if (port & 1) {
		model_data(c, value);
	} else {
		model_command(c, value);
	}
}

static inline int model_in(struct model *m, unsigned int port)
{
	int chip = port >= 0xa0;
	struct model_chip *c = &m->chip[chip];

	if (port >= 0x4d0)
		return model_bits(m, port & 1, 'l');
	if (c->poll) {
		int n;

		c->poll = false;
		n = model_take(m, chip);
		return n < 0 ? 0 : 0x80 + n;
	}
	return model_bits(m, chip, port & 1 ? 'm' : c->show_isr ? 's' : 'r');
}
