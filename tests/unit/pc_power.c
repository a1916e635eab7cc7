/*
 * How a PC is reset and switched off: every port, size and value around those that matter, against a list of the ones that
 * end a run.
 */
#include "vmm/pc_power.h"

#include "tests/unit/board.h"

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct pc_power power;
	unsigned int ends;
	enum pc_end end;
	int status;
};

static void ended(void *arg, enum pc_end end, uint8_t status)
{
	struct bench *b = arg;

	b->ends++;
	b->end = end;
	b->status = status;
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	pc_power_init(&b->power, &b->board.bus, NULL, ended, b);
}

/* What a write does, in the words of the data sheets: -1 = nothing. */
static int expected_end(uint64_t port, uint8_t size, uint64_t value)
{
	if (port == 0x92 && size == 1)
		return value & 1 ? PC_RESET : -1;
	if (port == 0xcf9 && size == 1)
		return value & 4 ? PC_RESET : -1;
	if ((port == 0x604 || port == 0xb004) && size <= 2)
		return value >> 13 & 1 ? PC_POWER_OFF : -1;
	if (port == 0xf4 && size <= 4)
		return PC_DEBUG_EXIT;
	return -1;
}

/* Accesses that reach two owners are split into bytes, as the bus does with all that no range holds whole. */
static int expected_split(uint64_t port, uint8_t size, uint64_t value)
{
	static const struct { uint64_t base, size; } ranges[] = {{0x92, 1}, {0xcf8, 8}, {0x604, 2}, {0xb004, 2}, {0xf4, 4}};
	int last = -1;

	for (size_t i = 0; i < 5; i++)
		if (port >= ranges[i].base && port + size <= ranges[i].base + ranges[i].size)
			return expected_end(port, size, value);
	for (unsigned int i = 0; i < size; i++) {
		int end = expected_end(port + i, 1, value >> (8 * i) & 0xff);

		last = end < 0 ? last : end;
	}
	return last;
}

static void try_write(struct bench *b, uint64_t port, uint8_t size, uint64_t value)
{
	int end = expected_split(port, size, value);

	b->ends = 0;
	board_out(&b->board, port, size, value);
	expect_msg(b->ends == (end >= 0), "port %#lx size %u value %#lx: ended %u times", (unsigned long)port, size,
		   (unsigned long)value, b->ends);
	if (end >= 0)
		expect_eq(b->end, (unsigned int)end);
}

START_TEST(every_write)
{
	static const uint64_t ports[] = {0x92, 0xf4, 0x604, 0xcf8, 0xb004};
	struct random r = random_start("pc power");
	struct bench b;

	bench_init(&b);
	for (size_t p = 0; p < 5; p++)
		for (uint64_t port = ports[p] - 8; port < ports[p] + 12; port++)
			for (uint8_t size = 1; size <= 8; size++)
				for (unsigned int i = 0; i < 600; i++) {
					uint64_t value = i < 256 ? i : random_next(&r);

					try_write(&b, port, size, size < 8 ? value & ((1ull << 8 * size) - 1) : value);
				}
}
END_TEST

START_TEST(debug_exit_status)
{
	struct bench b;

	bench_init(&b);
	for (uint32_t value = 0; value < 1024; value++) {
		board_out(&b.board, 0xf4, 4, value);
		expect_eq(b.end, PC_DEBUG_EXIT);
		expect_eq(b.status, (value * 2 + 1) % 256);
	}
}
END_TEST

/* PCI's address port is scanned by writes of four bytes, one of which falls on 0xcf9. */
START_TEST(pci_scan)
{
	struct bench b;

	bench_init(&b);
	for (uint32_t slot = 0; slot < 0x10000; slot++) {
		board_out(&b.board, 0xcf8, 4, 0x80000000 | slot << 8);
		expect_eq(board_in(&b.board, 0xcf8, 4), 0xffffffff);
		expect_eq(board_in(&b.board, 0xcfc, 4), 0xffffffff);
	}
	expect_eq(b.ends, 0);
}
END_TEST

START_TEST(registers_read_back)
{
	struct bench b;

	bench_init(&b);
	expect_eq(board_inb(&b.board, 0x92), 2); /* A20 is on */
	board_outb(&b.board, 0xcf9, 0x02);	  /* what kernels write before they reset */
	expect_eq(board_inb(&b.board, 0xcf9), 2);
	board_outb(&b.board, 0xcf9, 0x06);
	expect_eq(b.end, PC_RESET);
	expect_eq(b.ends, 1);
	expect_eq(board_inb(&b.board, 0xf4), 0xff);
	expect_eq(board_in(&b.board, 0x604, 2), 0xffff);
}
END_TEST

static void trial_init(void *bench)
{
	bench_init(bench);
}

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	static const uint64_t ports[] = {0x92, 0xf4, 0x604, 0xcf8, 0xcf9, 0xb004};
	struct random r = {dice};
	uint64_t port = ports[random_below(&r, 6)];
	uint8_t size = (uint8_t)(1 + random_below(&r, 4));

	if (random_below(&r, 2))
		return board_in(board, port, size);
	board_out(board, port, size, random_next(&r) & ((1ull << 8 * size) - 1));
	return 0;
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "pc power trial", .size = sizeof(struct bench), .init = trial_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("pc_power");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, every_write);
	tcase_add_test(tcase, debug_exit_status);
	tcase_add_test(tcase, pci_scan);
	tcase_add_test(tcase, registers_read_back);
	tcase_add_test(tcase, copies_and_damage);
	return run_case("pc_power", tcase);
}
