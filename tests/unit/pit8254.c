/*
 * The 8254 against the model of pit8254_model.h.
 */
#include "vmm/pit8254.h"

#include "tests/unit/board.h"
#include "tests/unit/pit8254_model.h"

#define SPEAKER 0x61

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct pit8254 pit;
	struct counter counter[3];
	uint64_t tick;
	uint8_t control61;
};

static void bench_init(void *bench)
{
	struct bench *b = bench;

	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	pit_init(&b->pit, &b->board.bus, &b->board.clock, board_irq(&b->board, 0));
	for (int i = 0; i < 3; i++)
		b->counter[i] = (struct counter){
			.rw = 3, .control = 0x30, .gate = i != 2, .latched = -1, .latched_status = -1,
		};
}

static void command(struct bench *b, uint8_t value)
{
	board_outb(&b->board, 0x43, value);
	for (int i = 0; i < 3; i++) {
		struct counter *c = &b->counter[i];

		if (value >> 6 == 3 && value >> (i + 1) & 1) {
			if (!(value & 0x20))
				counter_latch(c);
			if (!(value & 0x10) && c->latched_status < 0)
				c->latched_status = c->control | c->null << 6 | c->out << 7;
		} else if (value >> 6 == i) {
			if (value & 0x30)
				counter_program(c, value);
			else
				counter_latch(c);
		}
	}
}

static void count(struct bench *b, unsigned int channel, uint8_t byte)
{
	board_outb(&b->board, 0x40 + channel, byte);
	counter_write(&b->counter[channel], byte);
}

static void set_61(struct bench *b, uint8_t value)
{
	board_outb(&b->board, SPEAKER, value);
	b->control61 = value & 15;
	counter_gate(&b->counter[2], value & 1);
}

static void check_61(struct bench *b)
{
	int expected = b->control61 | (b->tick / 18 % 2 ? 0x10 : 0) | (b->counter[2].out ? 0x20 : 0);

	expect_eq(board_inb(&b->board, SPEAKER), expected);
}

static void check_read(struct bench *b, unsigned int channel)
{
	const struct counter *c = &b->counter[channel];
	bool known = c->latched_status >= 0 || (c->latched >= 0 ? c->latched_known : c->known);
	uint8_t got = board_inb(&b->board, 0x40 + channel), expected = counter_read(&b->counter[channel]);

	expect_msg(!known || got == expected, "tick %" PRIu64 ": channel %u, control 0x%x, reads 0x%x, not 0x%x", b->tick, channel,
		      c->control, got, expected);
}

static void check_outputs(struct bench *b)
{
	const struct counter *c = &b->counter[0];

	for (int i = 0; i < 3; i++) {
		const struct pit_channel *p = &b->pit.channel[i];

		expect_eq(p->at, b->tick);
		expect_msg(p->out == b->counter[i].out, "tick %" PRIu64 ": channel %d, mode %d: OUT is %d", b->tick, i,
			      b->counter[i].mode, p->out);
		expect_eq(p->null_count, b->counter[i].null);
	}
	expect_eq(b->board.level[0], c->mode >= 2 || c->out);
}

/* Lets n ticks pass, both here and there; the interrupt is one edge if there was any. */
static void pass(struct bench *b, uint64_t n, struct random *r)
{
	unsigned int rises = b->board.rises[0];
	uint64_t start, end, next = clock_next(&b->board.clock);

	b->counter[0].rises = 0;
	for (uint64_t i = 0; i < n; i++)
		for (int c = 0; c < 3; c++)
			counter_tick(&b->counter[c]);
	b->tick += n;
	start = clock_tick_ns(b->tick, PIT_HZ);
	end = clock_tick_ns(b->tick + 1, PIT_HZ);
	board_set_time(&b->board, start + random_below(r, end - start));
	expect_msg(b->board.rises[0] - rises == (b->counter[0].rises > 0),
		   "tick %" PRIu64 ", mode %d: %u edges and not %u", b->tick, b->counter[0].mode,
		   b->board.rises[0] - rises, b->counter[0].rises);
	expect_eq(next <= b->board.now, b->counter[0].rises > 0); /* it wakes us for an edge and for nothing else */
}

static uint64_t random_ticks(struct random *r)
{
	static const uint64_t limits[] = { 1, 2, 3, 8, 40, 600, 600, 3000 };

	if (random_below(r, 400) == 0)
		return random_below(r, 300000);
	return random_below(r, limits[random_below(r, 8)] + 1);
}

/* A count byte whose digits are decimal in BCD; small ones are the interesting ones. */
static uint8_t random_count(const struct counter *c, struct random *r)
{
	unsigned int n = (unsigned int)random_below(r, random_below(r, 2) ? 100 : 10);

	if (c->second_write && random_below(r, 3))
		n = 0;
	return (uint8_t)(c->bcd ? n / 10 << 4 | n % 10 : n);
}

static void step(struct bench *b, struct random *r)
{
	unsigned int channel = (unsigned int)random_below(r, 3), rises;
	uint8_t value = (uint8_t)random_next(r);

	pass(b, random_ticks(r), r);
	rises = b->board.rises[0];
	b->counter[0].rises = 0;
	switch (random_below(r, 16)) {
	case 0:
		if (random_below(r, 8) == 0)
			command(b, (uint8_t)(channel << 6 | (value & 0x3f))); /* programs or latches */
		break;
	case 1:
		command(b, (uint8_t)(random_below(r, 2) ? channel << 6 : 0xc0 | (value & 0x3f)));
		break;
	case 2:
		set_61(b, value);
		break;
	case 3:
	case 4:
		count(b, channel, random_count(&b->counter[channel], r));
		break;
	case 5:
		check_61(b);
		break;
	case 6:
		expect_eq(board_inb(&b->board, 0x43), 0xff);
		break;
	case 7:
		value &= 0x77; /* decimal digits, for BCD */
		board_out(&b->board, 0x40, 3, value * 0x010101u); /* three ports at once */
		for (int i = 0; i < 3; i++)
			counter_write(&b->counter[i], value);
		break;
	default:
		check_read(b, channel);
	}
	expect_eq(b->board.rises[0] - rises, b->counter[0].rises);
	board_inb(&b->board, SPEAKER); /* moves all channels on */
	check_outputs(b);
}

START_TEST(random_use_is_as_the_model_says)
{
	struct random r = random_start("pit8254");

	for (int round = 0; round < 150; round++) {
		struct bench b;

		bench_init(&b);
		for (uint8_t i = 0; i < 3; i++)
			command(&b, (uint8_t)(i << 6 | 0x10 | random_below(&r, 0x30)));
		for (int i = 0; i < 400; i++)
			step(&b, &r);
	}
}
END_TEST

/* Every mode with every small count, and the largest, looked at after every single tick. */
START_TEST(every_tick_of_small_counts)
{
	struct random r = { 1 };
	int mode = _i % 6;
	bool bcd = _i / 6;

	for (unsigned int n = 0; n <= 21; n++) {
		uint8_t low = (uint8_t)(bcd ? n / 10 << 4 | n % 10 : n);

		for (uint8_t channel = 0; channel < 3; channel += 2) {
			struct bench b;

			bench_init(&b);
			set_61(&b, channel == 2 && mode != 1 && mode != 5);
			command(&b, (uint8_t)(channel << 6 | 0x30 | mode << 1 | bcd));
			count(&b, channel, low);
			count(&b, channel, 0);
			set_61(&b, 1);
			for (int i = 0; i < 70; i++) {
				pass(&b, 1, &r);
				command(&b, (uint8_t)(0xc0 | 2 << channel));
				for (int byte = 0; byte < 3; byte++)
					check_read(&b, channel);
				check_outputs(&b);
			}
			pass(&b, 65536 * 2 + 9, &r);
			check_read(&b, channel);
		}
	}
}
END_TEST

/* The timer is armed for exactly the tick of each edge, whatever the rate, and years of them do not drift. */
START_TEST(edges_do_not_drift)
{
	struct random r = random_start("pit8254 edges");

	for (int round = 0; round < 200; round++) {
		uint64_t n = 2 + random_below(&r, random_below(&r, 2) ? 65535 : 20), edge = n + 1;
		struct bench b;

		bench_init(&b);
		board_outb(&b.board, 0x43, random_below(&r, 2) ? 0x34 : 0x36);
		board_outb(&b.board, 0x40, (uint8_t)n);
		board_outb(&b.board, 0x40, (uint8_t)(n >> 8));
		for (int i = 0; i < 100; i++) {
			unsigned int rises = b.board.rises[0];

			expect_eq(clock_next(&b.board.clock), clock_tick_ns(edge, PIT_HZ));
			board_set_time(&b.board, clock_tick_ns(edge, PIT_HZ) - 1);
			expect_eq(b.board.rises[0], rises);
			board_set_time(&b.board, clock_tick_ns(edge, PIT_HZ));
			expect_eq(b.board.rises[0], rises + 1);
			edge += n;
			if (i % 10)
				continue;
			rises = b.board.rises[0];
			edge += n * random_below(&r, 10000000000); /* hours to years asleep: one edge */
			board_set_time(&b.board, clock_tick_ns(edge, PIT_HZ) - 1);
			expect(b.board.rises[0] <= rises + 1);
		}
	}
}
END_TEST

START_TEST(one_shots_arm_the_timer_once)
{
	static const struct { uint8_t control; uint64_t ticks; } modes[] = { { 0x30, 101 }, { 0x38, 102 } };

	for (int i = 0; i < 2; i++) {
		struct bench b;
		unsigned int rises;

		bench_init(&b);
		expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
		board_outb(&b.board, 0x43, modes[i].control);
		expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
		board_outb(&b.board, 0x40, 100);
		board_outb(&b.board, 0x40, 0);
		rises = b.board.rises[0];
		expect_eq(clock_next(&b.board.clock), clock_tick_ns(modes[i].ticks, PIT_HZ));
		board_set_time(&b.board, clock_next(&b.board.clock));
		expect_eq(b.board.rises[0], rises + 1);
		expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
		board_set_time(&b.board, CLOCK_NS_PER_S);
		expect_eq(b.board.rises[0], rises + 1);
	}
}
END_TEST

START_TEST(reset_is_power_on)
{
	struct bench b, fresh;

	bench_init(&b);
	bench_init(&fresh);
	board_outb(&b.board, 0x43, 0x34);
	board_out(&b.board, 0x40, 2, 0x0505);
	board_outb(&b.board, 0x40, 3);
	set_61(&b, 3);
	bus_reset(&b.board.bus);
	trial_compare(&b.board, &fresh.board);
	expect_eq(clock_next(&b.board.clock), CLOCK_NEVER);
}
END_TEST

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	struct random r = { dice };
	uint64_t port = random_below(&r, 5) ? 0x40 + random_below(&r, 4) : SPEAKER, value = random_next(&r);
	uint8_t size = (uint8_t)(random_below(&r, 3) ? 1 : 1 + random_below(&r, 8));

	board_set_time(board, board->now + random_below(&r, random_below(&r, 4) ? 5000 : 1ull << random_below(&r, 45)));
	switch (random_below(&r, 4)) {
	case 0:
		board_out(board, port, size, value);
		return 0;
	case 1:
		board_out(board, 0x43, 1, value);
		board_out(board, 0x40 + (value >> 6 & 3), 1, value >> 8);
		board_out(board, 0x40 + (value >> 6 & 3), 1, value >> 16);
		return clock_next(&board->clock) - clock_now(&board->clock);
	}
	return board_in(board, port, size);
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "pit8254 trial", .size = sizeof(struct bench), .init = bench_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

static const struct bad_field bad_fields[] = {
	BAD(struct pit8254, channel[0].at, UINT64_MAX / 2),
	BAD(struct pit8254, channel[1].count, 0x10001),
	BAD(struct pit8254, channel[0].control, 0x70),
	BAD(struct pit8254, channel[0].control, 0),
	BAD(struct pit8254, channel[2].load, 1),
	BAD(struct pit8254, channel[2].running, 1),
	BAD(struct pit8254, control61, 0x10),
	BAD(struct pit8254, channel[0].gate, 0),
	BAD(struct pit8254, channel[1].gate, 0),
	BAD(struct pit8254, channel[2].gate, 1),
	BAD(struct pit8254, channel[0].count, 0), /* in mode 2 */
	BAD(struct pit8254, channel[0].count, 3), /* in mode 3 */
};

START_TEST(bad_fields_are_refused)
{
	struct bench b;

	bench_init(&b);
	if (_i >= 10) {
		command(&b, _i == 10 ? 0x34 : 0x36);
		count(&b, 0, 100);
		count(&b, 0, 0);
		board_set_time(&b.board, CLOCK_NS_PER_S);
		board_inb(&b.board, SPEAKER);
	}
	trial_bad_field(&b.board, &b.pit, &bad_fields[_i]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("pit8254");

	tcase_add_test(tcase, random_use_is_as_the_model_says);
	tcase_add_loop_test(tcase, every_tick_of_small_counts, 0, 12);
	tcase_add_test(tcase, edges_do_not_drift);
	tcase_add_test(tcase, one_shots_arm_the_timer_once);
	tcase_add_test(tcase, reset_is_power_on);
	tcase_add_test(tcase, copies_and_damage);
	return board_run_tests("pit8254", tcase, bad_fields_are_refused, 12);
}
