/*
 * The ports and the window of guest/abi.h, by what that page promises, and every odd size and offset against bytes kept
 * one by one.
 */
#include "vmm/abi_device.h"

#include "tests/unit/board.h"

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct abi_device abi;
	int code;
	unsigned int ends;
};

static void ended(void *arg, uint8_t code)
{
	struct bench *b = arg;

	b->code = code;
	b->ends++;
}

static void bench_init(void *bench)
{
	struct bench *b = bench;

	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	abi_device_init(&b->abi, &b->board.bus, &b->board.clock, ended, b);
}

START_TEST(exit_by_any_size)
{
	struct bench b;

	bench_init(&b);
	for (uint8_t size = 1; size <= 8; size++) {
		board_out(&b.board, ABI_PORT_EXIT, size, 0xaabbccdd11223300 + size);
		expect_eq(b.ends, size);
		expect_eq(b.code, size);
	}
	board_out(&b.board, ABI_PORT_EXIT + 1, 1, 9);
	board_out(&b.board, ABI_PORT_EXIT + 2, 2, 9);
	board_out(&b.board, ABI_PORT_EXIT - 1, 1, 9);
	expect_eq(b.ends, 8);
	expect_eq(board_in(&b.board, ABI_PORT_EXIT, 4), 0xffffffff);
}
END_TEST

START_TEST(clock_halves_belong_together)
{
	struct random r = random_start("abi clock");
	struct bench b;

	bench_init(&b);
	for (int i = 0; i < 1000; i++) {
		uint64_t ns = b.board.now += random_next(&r) >> 14, low, high;

		low = board_in(&b.board, ABI_PORT_CLOCK, 4);
		b.board.now += random_next(&r) >> 14;
		high = board_in(&b.board, ABI_PORT_CLOCK_HI, 4);
		expect_eq(high << 32 | low, ns);
		expect_eq(board_in(&b.board, ABI_PORT_CLOCK + 1, 2), ns >> 8 & 0xffff); /* no new latch */
		board_out(&b.board, ABI_PORT_CLOCK, 4, 5);
		expect_eq(board_in(&b.board, ABI_PORT_CLOCK_HI, 4), ns >> 32);
	}
}
END_TEST

START_TEST(counter_counts_reads)
{
	struct bench b;
	uint32_t expected = 0;

	bench_init(&b);
	for (uint8_t size = 1; size <= 4; size++) {
		for (int i = 0; i < 300; i++, expected++)
			expect_eq(board_in(&b.board, ABI_PORT_COUNTER, size),
					  expected & ((1ull << 8 * size) - 1));
		board_out(&b.board, ABI_PORT_COUNTER, size, expected = 0xf0 + size);
		board_out(&b.board, ABI_PORT_COUNTER + 1, 1, 77);
	}
	board_out(&b.board, ABI_PORT_COUNTER, 4, UINT32_MAX);
	expect_eq(board_in(&b.board, ABI_PORT_COUNTER, 4), UINT32_MAX);
	expect_eq(board_in(&b.board, ABI_PORT_COUNTER, 4), 0);
}
END_TEST

START_TEST(scratch_keeps_bytes)
{
	struct random r = random_start("abi scratch");
	uint8_t model[4] = { 0 };
	struct bench b;

	bench_init(&b);
	for (int i = 0; i < 20000; i++) {
		unsigned int offset = (unsigned int)random_below(&r, 4);
		uint8_t size = (uint8_t)(1 + random_below(&r, 4));
		uint64_t value = random_next(&r), expected = 0;

		value &= (1ull << 8 * size) - 1;
		board_out(&b.board, ABI_PORT_SCRATCH + offset, size, value);
		for (unsigned int n = 0; n < size && offset + n < 4; n++)
			model[offset + n] = (uint8_t)(value >> 8 * n);
		offset = (unsigned int)random_below(&r, 4);
		size = (uint8_t)(1 + random_below(&r, 4));
		for (unsigned int n = 0; n < size; n++)
			expected |= (uint64_t)(offset + n < 4 ? model[offset + n] : 0xff) << 8 * n;
		expect_eq(board_in(&b.board, ABI_PORT_SCRATCH + offset, size), expected);
	}
}
END_TEST

static uint64_t window(struct bench *b, enum access_kind kind, uint64_t offset, uint8_t size, uint64_t value)
{
	struct access a = { .kind = kind, .size = size, .addr = ABI_MMIO_SCRATCH + offset, .value = value };

	bus_access(&b->board.bus, &a);
	return a.value;
}

START_TEST(window_mirrors_64_bytes)
{
	struct random r = random_start("abi window");
	uint8_t model[64] = { 0 };
	struct bench b;

	bench_init(&b);
	for (int i = 0; i < 50000; i++) {
		uint64_t offset = random_below(&r, ABI_MMIO_SCRATCH_SIZE), value = random_next(&r), expected = 0;
		uint8_t size = (uint8_t)(1 + random_below(&r, 8));

		if (random_below(&r, 8) == 0)
			offset = ABI_MMIO_SCRATCH_SIZE - 1 - random_below(&r, 8); /* over the window's end */
		window(&b, ACCESS_MMIO_WRITE, offset, size, value);
		for (unsigned int n = 0; n < size && offset + n < ABI_MMIO_SCRATCH_SIZE; n++)
			model[(offset + n) % 64] = (uint8_t)(value >> 8 * n);
		offset = random_below(&r, ABI_MMIO_SCRATCH_SIZE);
		for (unsigned int n = 0; n < size; n++)
			expected |= (uint64_t)(offset + n < ABI_MMIO_SCRATCH_SIZE ? model[(offset + n) % 64] : 0xff) << 8 * n;
		expect_eq(window(&b, ACCESS_MMIO_READ, offset, size, UINT64_MAX), expected);
	}
}
END_TEST

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	struct bench *b = (struct bench *)board;
	struct random r = { dice };
	uint64_t port = ABI_PORT_EXIT - 2 + random_below(&r, 24), value = random_next(&r);
	uint8_t size = (uint8_t)(1 + random_below(&r, 8));

	board->now += value >> 40;
	switch (random_below(&r, 4)) {
	case 0:
		board_out(board, port, size, value);
		return 0;
	case 1:
		return window(b, ACCESS_MMIO_WRITE, random_below(&r, ABI_MMIO_SCRATCH_SIZE), size, value);
	case 2:
		return window(b, ACCESS_MMIO_READ, random_below(&r, ABI_MMIO_SCRATCH_SIZE), size, 0);
	}
	return board_in(board, port, size);
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "abi trial", .size = sizeof(struct bench), .init = bench_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("abi_device");

	tcase_add_test(tcase, exit_by_any_size);
	tcase_add_test(tcase, clock_halves_belong_together);
	tcase_add_test(tcase, counter_counts_reads);
	tcase_add_test(tcase, scratch_keeps_bytes);
	tcase_add_test(tcase, window_mirrors_64_bytes);
	tcase_add_test(tcase, copies_and_damage);
	return board_run_tests("abi_device", tcase, NULL, 0);
}
