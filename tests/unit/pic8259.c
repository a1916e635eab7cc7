/*
 * The 8259 pair against a naive model that keeps one record for each of the 16 inputs and works out priorities by rank,
 * and the cases that the data sheet spells out.
 */
#include "vmm/pic8259.h"

#include <signal.h>

#include "tests/unit/board.h"

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

static bool model_requests(const struct model *m, int chip, int n);

static int rank(const struct model_chip *c, int n)
{
	return (n - c->bottom - 1 + 16) % 8;
}

/* The input that would win now, -1 = none. */
static int model_winner(const struct model *m, int chip)
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

static bool model_requests(const struct model *m, int chip, int n)
{
	const struct model_chip *c = &m->chip[chip];

	if (chip == 0 && n == 2)
		return model_winner(m, 1) >= 0;
	return c->all_level || c->in[n].level_bit ? c->in[n].high : c->in[n].edge;
}

static void model_set(struct model *m, unsigned int n, bool high)
{
	struct input *in = &m->chip[n / 8].in[n % 8];

	if (high && !in->high)
		in->edge = true;
	if (!high)
		in->edge = false;
	in->high = high;
}

static int model_take(struct model *m, int chip)
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

static int model_acknowledge(struct model *m)
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

static int model_bits(const struct model *m, int chip, char which)
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

static void model_init_word(struct model_chip *c, int value)
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

static void model_end(struct model_chip *c, int n, bool rotate)
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

static void model_command(struct model_chip *c, int value)
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

static void model_data(struct model_chip *c, int value)
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

static void model_out(struct model *m, unsigned int port, int value)
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

static int model_in(struct model *m, unsigned int port)
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

static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct pic8259 pic;
	struct model model;
};

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	pic_init(&b->pic, &b->board.bus);
	b->model.chip[0].bottom = b->model.chip[1].bottom = 7;
}

static void both_out(struct bench *b, unsigned int port, int value)
{
	board_outb(&b->board, port, (uint8_t)value);
	model_out(&b->model, port, value);
}

/* Two ports at once: one byte after the other. */
static void both_out_wide(struct bench *b, unsigned int port, int value)
{
	board_out(&b->board, port, 2, (uint64_t)value);
	model_out(&b->model, port, value & 0xff);
	model_out(&b->model, port + 1, value >> 8);
}

static void both_set(struct bench *b, unsigned int n, bool high)
{
	pic_set_irq(&b->pic, n, high);
	model_set(&b->model, n, high);
}

static void both_in(struct bench *b, unsigned int port)
{
	int got = board_inb(&b->board, port), expected = model_in(&b->model, port);

	expect_msg(got == expected, "port 0x%x reads 0x%x, not 0x%x", port, got, expected);
}

static void both_in_wide(struct bench *b, unsigned int port)
{
	uint64_t got = board_in(&b->board, port, 2);
	int low = model_in(&b->model, port);

	expect_eq(got, low | model_in(&b->model, port + 1) << 8);
}

static void both_acknowledge(struct bench *b)
{
	expect_eq(pic_acknowledge(&b->pic), model_acknowledge(&b->model));
}

static void both_pending(const struct bench *b)
{
	expect_eq(pic_pending(&b->pic), model_winner(&b->model, 0) >= 0);
}

static void both_start(struct bench *b, int icw1, int icw4)
{
	static const int base[2] = { 0x20, 0x28 }, cascade[2] = { 4, 2 };

	for (unsigned int chip = 0; chip < 2; chip++) {
		unsigned int port = chip ? 0xa0 : 0x20;

		both_out(b, port, 0x10 | icw1);
		both_out(b, port + 1, base[chip]);
		if (!(icw1 & 2))
			both_out(b, port + 1, cascade[chip]);
		if (icw1 & 1)
			both_out(b, port + 1, icw4);
		both_out(b, port + 1, 0);
	}
}

static unsigned int random_line(struct random *r)
{
	unsigned int n = (unsigned int)random_below(r, 15);

	return n < 2 ? n : n + 1;
}

/* Mostly what drivers do, so that the chips are usually working; now and then any byte. */
static void random_step(struct bench *b, struct random *r)
{
	static const uint8_t commands[] = { 0x20, 0x20, 0x20, 0x60, 0xa0, 0xe0, 0xc0, 0x80, 0x00, 0x0a, 0x0b, 0x0c, 0x68,
					    0x48, 0x40 };
	unsigned int port = ports[random_below(r, 6)];
	int value = (int)random_below(r, 256);

	switch (random_below(r, 16)) {
	case 0:
		if (port & 1)
			both_out(b, port, value);
		else
			both_out_wide(b, port, value << 8 | (int)random_below(r, 256));
		break;
	case 1:
		if (random_below(r, 20) == 0)
			both_start(b, value & 0xf, (int)random_next(r) & 0x1f);
		break;
	case 2:
		both_out(b, port < 0x4d0 ? port | 1 : port, value & (int)random_next(r) & (int)random_next(r));
		break;
	case 3:
	case 4:
	case 5:
		both_out(b, random_next(r) & 1 ? 0x20 : 0xa0, commands[random_below(r, sizeof(commands))] | (value & 7));
		break;
	case 6:
	case 7:
	case 8:
		if (pic_pending(&b->pic) || random_below(r, 10) == 0)
			both_acknowledge(b);
		break;
	default:
		both_set(b, random_line(r), value & 1);
		break;
	}
}

START_TEST(random_use_is_as_the_model_says)
{
	struct random r = random_start("pic8259");
	unsigned int pending = 0;

	for (int round = 0; round < 300; round++) {
		struct bench b;

		bench_init(&b);
		if (round % 8)
			both_start(&b, 1 | (int)(random_below(&r, 8) == 0 ? 8 : 0), 1 | (int)random_below(&r, 2) * 2 |
				   (int)random_below(&r, 2) * 16);
		for (int i = 0; i < 1500; i++) {
			random_step(&b, &r);
			both_pending(&b);
			both_in(&b, ports[random_below(&r, 6)]);
			both_in_wide(&b, ports[2 * random_below(&r, 3)]);
			both_pending(&b);
			pending += pic_pending(&b.pic);
		}
	}
	expect(pending > 10000); /* or nothing was tried */
}
END_TEST

/* All 128 sets of requests times 256 in service times 8 orders of priority of one chip, masked and not, in both mask modes. */
START_TEST(every_priority)
{
	static const int modes[] = { 0x08, 0x68 }; /* OCW3: nothing, special mask mode */
	struct bench b;

	bench_init(&b);
	both_start(&b, 1, 1);
	both_out(&b, 0x20, modes[_i % 2]);
	for (int lines = 0; lines < 256; lines++) {
		if (lines & 4)
			continue; /* the cascade follows the slave */
		for (int isr = 0; isr < 256; isr++) {
			for (int order = 0; order < 8; order++) {
				struct pic_chip *c = &b.pic.chip[0];

				c->lines = c->edges = (uint8_t)lines;
				c->isr = (uint8_t)isr;
				for (int n = 0; n < 8; n++) {
					b.model.chip[0].in[n].high = b.model.chip[0].in[n].edge = lines >> n & 1;
					b.model.chip[0].in[n].in_service = isr >> n & 1;
				}
				both_out(&b, 0x20, 0xc0 | order); /* recomputes */
				both_out(&b, 0x21, _i / 2 ? (lines * 37 + isr) & 0xff : 0);
				both_pending(&b);
			}
		}
	}
}
END_TEST

START_TEST(requests_nothing_before_it_is_set_up)
{
	struct bench b;

	bench_init(&b);
	for (unsigned int n = 0; n < 16; n++)
		if (n != 2)
			pic_set_irq(&b.pic, n, true);
	expect(!pic_pending(&b.pic));
	board_outb(&b.board, 0x20, 0x11);
	board_outb(&b.board, 0x21, 0x20);
	board_outb(&b.board, 0x21, 0x04);
	pic_set_irq(&b.pic, 0, false);
	pic_set_irq(&b.pic, 0, true);
	expect(!pic_pending(&b.pic));
	board_outb(&b.board, 0x21, 0x01);
	expect(pic_pending(&b.pic));
	expect_eq(pic_acknowledge(&b.pic), 0x20);
	expect(!pic_pending(&b.pic)); /* the other lines were high before the set-up: no edge */
}
END_TEST

START_TEST(spurious_vectors)
{
	struct bench b;

	bench_init(&b);
	both_start(&b, 1, 1);
	expect_eq(pic_acknowledge(&b.pic), 0x27); /* nobody asked */
	board_outb(&b.board, 0x20, 0x0b);
	expect_eq(board_inb(&b.board, 0x20), 0); /* and nothing is in service */
	pic_set_irq(&b.pic, 3, true);
	expect(pic_pending(&b.pic));
	pic_set_irq(&b.pic, 3, false); /* it takes its request back */
	expect(!pic_pending(&b.pic));
	expect_eq(pic_acknowledge(&b.pic), 0x27);
	pic_set_irq(&b.pic, 10, true);
	expect_eq(pic_acknowledge(&b.pic), 0x2a);
	expect_eq(board_inb(&b.board, 0x20), 4);
}
END_TEST

START_TEST(level_triggered_asks_again)
{
	struct bench b;

	bench_init(&b);
	both_start(&b, 1, 1);
	board_outb(&b.board, 0x4d0, 0xff);
	expect_eq(board_inb(&b.board, 0x4d0), 0xf8);
	board_outb(&b.board, 0x4d1, 0xff);
	expect_eq(board_inb(&b.board, 0x4d1), 0xde);
	for (int i = 0; i < 3; i++) {
		pic_set_irq(&b.pic, 5, true);
		expect_eq(pic_acknowledge(&b.pic), 0x25);
		expect(!pic_pending(&b.pic));
		board_outb(&b.board, 0x20, 0x20);
		expect(pic_pending(&b.pic));
	}
	pic_set_irq(&b.pic, 5, false);
	expect(!pic_pending(&b.pic));
}
END_TEST

START_TEST(special_fully_nested_slaves)
{
	for (int sfnm = 0; sfnm < 2; sfnm++) {
		struct bench b;

		bench_init(&b);
		both_start(&b, 1, 1 | sfnm << 4);
		pic_set_irq(&b.pic, 12, true);
		expect_eq(pic_acknowledge(&b.pic), 0x2c);
		pic_set_irq(&b.pic, 9, true); /* higher than 12, on the same slave */
		expect_eq(pic_pending(&b.pic), sfnm);
		if (sfnm)
			expect_eq(pic_acknowledge(&b.pic), 0x29);
	}
}
END_TEST

START_TEST(reset_keeps_the_lines)
{
	struct bench b;

	bench_init(&b);
	both_start(&b, 1, 1);
	board_outb(&b.board, 0x4d0, 0xf8);
	pic_set_irq(&b.pic, 4, true);
	bus_reset(&b.board.bus);
	expect(!pic_pending(&b.pic));
	expect_eq(board_inb(&b.board, 0x4d0), 0);
	both_start(&b, 9, 1); /* all inputs level-triggered: the line still counts */
	expect(pic_pending(&b.pic));
	expect_eq(pic_acknowledge(&b.pic), 0x24);
}
END_TEST

static struct board *trial_make(void)
{
	struct bench *b = malloc(sizeof(*b));

	bench_init(b);
	return &b->board;
}

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	struct bench *b = (struct bench *)board;
	struct random r = { dice };
	unsigned int port = ports[random_below(&r, 6)];
	uint8_t size = (uint8_t)(1 + random_below(&r, 8)), sequence;

	switch (random_below(&r, 6)) {
	case 0:
		board_out(board, port, size, random_next(&r));
		break;
	case 1:
		for (sequence = 0; sequence < 5; sequence++)
			board_outb(board, (port & 0xf0) + (sequence > 0), (uint8_t[]){ 0x11, 0x20, 4, 1, 0 }[sequence]);
		break;
	case 2:
		return board_in(board, port, size);
	case 3:
		return pic_pending(&b->pic) ? pic_acknowledge(&b->pic) : 0;
	default:
		pic_set_irq(&b->pic, random_line(&r), random_next(&r) & 1);
		break;
	}
	return pic_pending(&b->pic);
}

static void trial_quiet(struct board *board)
{
	for (unsigned int n = 0; n < 16; n++)
		if (n != 2)
			pic_set_irq(&((struct bench *)board)->pic, n, false);
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = { "pic8259 trial", trial_make, trial_use, trial_quiet };

	trial_run(&trial, 200, 200);
}
END_TEST

static const struct bad_field bad_fields[] = {
	BAD(struct pic8259, chip[0].edges, 1),
	BAD(struct pic8259, chip[1].edges, 0x80),
	BAD(struct pic8259, chip[0].elcr, 1),
	BAD(struct pic8259, chip[1].elcr, 0x20),
	BAD(struct pic8259, chip[1].base, 9),
	BAD(struct pic8259, chip[0].lowest, 8),
	BAD(struct pic8259, chip[0].expect, 4),
	BAD(struct pic8259, chip[1].ready, 1),
};

START_TEST(bad_fields_are_refused)
{
	struct bench b;

	bench_init(&b);
	if (_i == 7)
		b.pic.chip[1].expect = PIC_ICW2; /* ready, and in the middle of being set up */
	trial_bad_field(&b.board, &b.pic, &bad_fields[_i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pic8259");
	TCase *tcase = tcase_create("pic8259");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, random_use_is_as_the_model_says);
	tcase_add_loop_test(tcase, every_priority, 0, 4);
	tcase_add_test(tcase, requests_nothing_before_it_is_set_up);
	tcase_add_test(tcase, spurious_vectors);
	tcase_add_test(tcase, level_triggered_asks_again);
	tcase_add_test(tcase, special_fully_nested_slaves);
	tcase_add_test(tcase, reset_keeps_the_lines);
	tcase_add_test(tcase, copies_and_damage);
	if (board_forks())
		tcase_add_loop_test_raise_signal(tcase, bad_fields_are_refused, SIGABRT, 0, 8);
	suite_add_tcase(suite, tcase);
	return board_run_suite(suite);
}
