/*
 * The 8259 pair against the model of pic8259_model.h, and the cases that the data sheet spells out.
 */
#include "vmm/pic8259.h"

#include "tests/unit/board.h"
#include "tests/unit/pic8259_model.h"

static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct pic8259 pic;
	struct model model;
};

static void bench_init(void *bench)
{
	struct bench *b = bench;

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
	static const struct trial trial = {.name = "pic8259 trial", .size = sizeof(struct bench), .init = bench_init, .use = trial_use, .quiet = trial_quiet};

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
	TCase *tcase = tcase_create("pic8259");

	tcase_add_test(tcase, random_use_is_as_the_model_says);
	tcase_add_loop_test(tcase, every_priority, 0, 4);
	tcase_add_test(tcase, requests_nothing_before_it_is_set_up);
	tcase_add_test(tcase, spurious_vectors);
	tcase_add_test(tcase, level_triggered_asks_again);
	tcase_add_test(tcase, special_fully_nested_slaves);
	tcase_add_test(tcase, reset_keeps_the_lines);
	tcase_add_test(tcase, copies_and_damage);
	return board_run_tests("pic8259", tcase, bad_fields_are_refused, 8);
}
