/*
 * The UART against a naive model: a plain list of received characters and one flag for each interrupt source, written from
 * the data sheet's tables.
 */
#include "vmm/uart16550.h"

#include "tests/unit/board.h"

#define BASE 0x3f8

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct uart16550 uart;
	char sent[64];
	unsigned int sent_count;
};

static void put(void *arg, uint8_t byte)
{
	struct bench *b = arg;

	b->sent[b->sent_count++ % sizeof(b->sent)] = (char)byte;
}

static void bench_init(void *bench)
{
	struct bench *b = bench;

	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	uart_init(&b->uart, &b->board.bus, board_irq(&b->board, 4), put, b);
}

struct model {
	uint8_t queue[32];
	int length, trigger;
	int divisor_low, divisor_high, enables, line_control, modem_control, scratch, last;
	bool fifo, overrun, transmitter_news;
	int changes; /* low half of MSR */
	unsigned int sent_count;
	uint8_t sent_last;
};

static int model_modem(const struct model *m)
{
	int c = m->modem_control;

	if (!(c & 0x10))
		return 0xb0;
	return (c & 1 ? 0x20 : 0) + (c & 2 ? 0x10 : 0) + (c & 4 ? 0x40 : 0) + (c & 8 ? 0x80 : 0);
}

/* Table of interrupt control functions: the first line that applies. */
static int model_identify(const struct model *m)
{
	const struct { bool applies; int id; } table[] = {
		{ m->enables & 4 && m->overrun, 6 },
		{ m->enables & 1 && m->length > 0 && (!m->fifo || m->length >= m->trigger), 4 },
		{ m->enables & 1 && m->length > 0, 12 },
		{ m->enables & 2 && m->transmitter_news, 2 },
		{ m->enables & 8 && m->changes, 0 },
		{ true, 1 },
	};
	int i = 0;

	while (!table[i].applies)
		i++;
	return table[i].id;
}

static bool model_line(const struct model *m)
{
	return m->modem_control & 8 && !(m->modem_control & 16) && model_identify(m) != 1;
}

static int model_in(struct model *m, int reg)
{
	int value;

	if (reg < 2 && m->line_control & 0x80)
		return reg ? m->divisor_high : m->divisor_low;
	switch (reg) {
	case 0:
		if (m->length) {
			m->last = m->queue[0];
			memmove(m->queue, m->queue + 1, (size_t)--m->length);
		}
		return m->last;
	case 1:
		return m->enables;
	case 2:
		value = model_identify(m);
		if (value == 2)
			m->transmitter_news = false;
		return value | (m->fifo ? 0xc0 : 0);
	case 3:
		return m->line_control;
	case 4:
		return m->modem_control;
	case 5:
		value = 0x60 + (m->overrun ? 2 : 0) + (m->length ? 1 : 0);
		m->overrun = false;
		return value;
	case 6:
		value = model_modem(m) + m->changes;
		m->changes = 0;
		return value;
	}
	return m->scratch;
}

static int model_room(const struct model *m)
{
	if (m->modem_control & 16 || !(m->modem_control & 2))
		return 0; /* in loopback, or no request to send */
	return (m->fifo ? 16 : 1) - m->length;
}

static void model_send(struct model *m, int value)
{
	m->transmitter_news = true;
	if (!(m->modem_control & 16)) {
		m->sent_count++;
		m->sent_last = (uint8_t)value;
	} else if (m->length < (m->fifo ? 16 : 1)) {
		m->queue[m->length++] = (uint8_t)value;
	} else {
		m->overrun = true;
		if (!m->fifo)
			m->queue[0] = (uint8_t)value;
	}
}

static void model_out(struct model *m, int reg, int value)
{
	static const int triggers[] = { 1, 4, 8, 14 };
	int before = model_modem(m);

	if (reg < 2 && m->line_control & 0x80) {
		*(reg ? &m->divisor_high : &m->divisor_low) = value;
	} else if (reg == 0) {
		model_send(m, value);
	} else if (reg == 1) {
		if (value & 2 && !(m->enables & 2))
			m->transmitter_news = true;
		m->enables = value & 15;
	} else if (reg == 2) {
		if (m->fifo != (value & 1) || (value & 3) == 3)
			m->length = 0;
		m->fifo = value & 1;
		if (m->fifo)
			m->trigger = triggers[value >> 6];
	} else if (reg == 3) {
		m->line_control = value;
	} else if (reg == 4) {
		m->modem_control = value & 31;
		for (int input = 0; input < 4; input++) {
			bool was = before & 0x10 << input, is = model_modem(m) & 0x10 << input;

			if (input == 2 ? was && !is : was != is)
				m->changes |= 1 << input;
		}
	} else if (reg == 7) {
		m->scratch = value;
	}
}

static void compare(const struct bench *b, const struct model *m)
{
	expect_eq((int)uart_room(&b->uart), model_room(m));
	expect_eq(b->board.level[4], model_line(m));
	expect_eq(b->sent_count, m->sent_count);
	if (m->sent_count)
		expect_eq((uint8_t)b->sent[(b->sent_count - 1) % sizeof(b->sent)], m->sent_last);
}

static void receive(struct bench *b, struct model *m, struct random *r)
{
	uint8_t bytes[24];
	size_t size = random_below(r, sizeof(bytes)), room = (size_t)model_room(m);

	for (size_t i = 0; i < size; i++) {
		bytes[i] = (uint8_t)random_next(r);
		if (i < room)
			m->queue[m->length++] = bytes[i];
	}
	expect_eq(uart_receive(&b->uart, bytes, size), size < room ? size : room);
}

static void step(struct bench *b, struct model *m, struct random *r)
{
	int reg = (int)random_below(r, 8), value = (int)random_below(r, 256);

	if (reg == 3 && random_below(r, 4))
		value &= 0x7f; /* stay away from the divisor, mostly */
	if (reg == 4 && random_below(r, 4))
		value |= 8 + 2;
	if (random_below(r, 8) == 0)
		receive(b, m, r);
	else if (random_below(r, 5) < 3)
		expect_eq(board_inb(&b->board, BASE + (unsigned int)reg), model_in(m, reg));
	else {
		board_outb(&b->board, BASE + (unsigned int)reg, (uint8_t)value);
		model_out(m, reg, value);
	}
	compare(b, m);
}

START_TEST(random_use_is_as_the_model_says)
{
	struct random r = random_start("uart16550");

	for (int round = 0; round < 300; round++) {
		struct model m = { .trigger = 1 };
		struct bench b;

		bench_init(&b);
		for (int i = 0; i < 2000; i++)
			step(&b, &m, &r);
	}
}
END_TEST

START_TEST(sends_in_order)
{
	struct bench b;

	bench_init(&b);
	for (const char *p = "hello"; *p; p++) {
		expect_eq(board_inb(&b.board, BASE + 5) & 0x60, 0x60);
		board_outb(&b.board, BASE, (uint8_t)*p);
	}
	expect_eq(b.sent_count, 5);
	ck_assert_mem_eq(b.sent, "hello", 5);
}
END_TEST

/* Wide accesses hit the registers one after the other, as on ISA; here: data, IER, FCR, LCR. */
START_TEST(wide_accesses_split)
{
	struct bench b;

	bench_init(&b);
	board_out(&b.board, BASE, 4, 0x03c10541);
	expect_eq(b.sent_count, 1);
	expect_eq(b.sent[0], 'A');
	expect_eq(board_in(&b.board, BASE + 1, 4), 0x0003c105);
	expect_eq(board_in(&b.board, BASE + 6, 4), 0xffff00b0); /* MSR, SCR, and two ports of nobody */
}
END_TEST

/* A driver that fills the transmitter from its interrupt handler sees an edge for each time it becomes empty. */
START_TEST(each_transmission_is_an_edge)
{
	struct bench b;

	bench_init(&b);
	board_outb(&b.board, BASE + 4, 8);
	board_outb(&b.board, BASE + 1, 2);
	expect_eq(b.board.rises[4], 1); /* it was empty already */
	for (unsigned int i = 0; i < 10; i++) {
		if (i % 2)
			expect_eq(board_inb(&b.board, BASE + 2), 2);
		expect_eq(b.board.level[4], i % 2 == 0);
		board_outb(&b.board, BASE, 'x');
		expect(b.board.level[4]);
		expect_eq(b.board.rises[4], i + 2);
	}
	board_outb(&b.board, BASE + 4, 0); /* OUT2 off: not connected */
	expect(!b.board.level[4]);
}
END_TEST

START_TEST(room_grows_as_the_guest_reads)
{
	uint8_t bytes[40];
	struct bench b;

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	bench_init(&b);
	expect_eq(uart_room(&b.uart), 0);
	board_outb(&b.board, BASE + 4, 2); /* RTS: the driver is there */
	expect_eq(uart_room(&b.uart), 1);
	expect_eq(uart_receive(&b.uart, bytes, 40), 1);
	expect_eq(uart_receive(&b.uart, bytes, 40), 0);
	board_outb(&b.board, BASE + 2, 1);
	expect_eq(uart_receive(&b.uart, bytes, 40), 16);
	for (unsigned int i = 0; i < 16; i++) {
		expect_eq(uart_room(&b.uart), i);
		expect_eq(board_inb(&b.board, BASE), i);
	}
	expect_eq(board_inb(&b.board, BASE + 5), 0x60);
}
END_TEST

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	struct bench *b = (struct bench *)board;
	struct random r = { dice };
	uint64_t port = BASE - 4 + random_below(&r, 16), value = random_next(&r);
	uint8_t size = (uint8_t)(1 + random_below(&r, 8));

	switch (random_below(&r, 4)) {
	case 0:
		return uart_receive(&b->uart, (uint8_t *)&value, sizeof(value));
	case 1:
		board_out(board, port, size, value);
		return uart_room(&b->uart);
	case 2:
		board_outb(board, port, (uint8_t)value);
		return uart_room(&b->uart);
	}
	return board_in(board, port, size);
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "uart16550 trial", .size = sizeof(struct bench), .init = bench_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

static const struct bad_field bad_fields[] = {
	BAD(struct uart16550, first, 16),
	BAD(struct uart16550, count, 2),
	BAD(struct uart16550, ier, 0x10),
	BAD(struct uart16550, mcr, 0x20),
	BAD(struct uart16550, modem_delta, 0x10),
	BAD(struct uart16550, trigger, 2),
	BAD(struct uart16550, trigger, 0),
};

START_TEST(bad_fields_are_refused)
{
	struct bench b;

	bench_init(&b);
	trial_bad_field(&b.board, &b.uart, &bad_fields[_i]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("uart16550");

	tcase_add_test(tcase, random_use_is_as_the_model_says);
	tcase_add_test(tcase, sends_in_order);
	tcase_add_test(tcase, wide_accesses_split);
	tcase_add_test(tcase, each_transmission_is_an_edge);
	tcase_add_test(tcase, room_grows_as_the_guest_reads);
	tcase_add_test(tcase, copies_and_damage);
	return board_run_tests("uart16550", tcase, bad_fields_are_refused, 7);
}
