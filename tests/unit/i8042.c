/*
 * The keyboard controller, as kernels drive it: dialogues with what every read must give, and every command there is.
 */
#include "vmm/i8042.h"

#include <stdio.h>

#include "tests/unit/board.h"

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct i8042 keyboard;
	unsigned int resets;
};

static void on_reset(void *arg, const char *how)
{
	struct bench *b = arg;

	ck_assert_str_eq(how, "the keyboard controller");
	b->resets++;
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	i8042_init(&b->keyboard, &b->board.bus, board_irq(&b->board, 1), on_reset, b);
}

/*
 * Steps: "c XX" command, "d XX" data, "s XX" the status must be that, "r XX" the data read must be that, "i 0" or "i 1" the
 * interrupt's level. All in hexadecimal.
 */
static const struct dialogue {
	const char *name, *steps;
} dialogues[] = {
	{"after power-on", "s 10 i 0 c 20 s 19 i 0 r 30 s 18"},
	{"reading takes the byte away", "c aa s 1d r 55 s 1c r 55 s 1c"},
	{"the self-test stays told", "s 10 c aa s 1d c 20 s 1d r 34"},
	{"command byte", "c 60 s 18 d 65 s 10 c 20 r 65"},
	{"there is no mouse to switch on", "c 60 d 47 c 20 i 1 r 67 i 0"},
	{"interrupts as asked for", "c 60 d 21 c 20 i 1 r 21 i 0 c 60 d 20 c 20 i 0 r 20 c aa i 0 c 60 d 21 i 1"},
	{"keyboard off and on", "c ae c 20 r 20 c ad c 20 r 30"},
	{"tests", "c ab r 00 c a9 r 01"},
	{"mouse commands do nothing", "c a8 c 20 r 30 c a7 c 20 r 30"},
	{"a loop that ends at no mouse", "c d3 d 5a s 11 r 5a"},
	{"what a keyboard would have said", "c d2 d 1c s 11 r 1c"},
	{"bytes for a mouse and for a keyboard go nowhere", "c d4 d ff s 10 d ed s 10 d ff s 10"},
	{"a command takes the place of one that waits", "c 60 c aa d ff r 55 c 20 r 34"},
	{"lines", "c c0 r 80 c d0 r 03"},
	{"lines that do not reset", "c d1 d df s 10 c d1 d 01 s 10 c ff s 18 c f1 s 18"},
};

static void step(struct bench *b, char what, unsigned int value, const char *name, const char *at)
{
	unsigned int got = value;

	switch (what) {
	case 'c': board_outb(&b->board, 0x64, (uint8_t)value); break;
	case 'd': board_outb(&b->board, 0x60, (uint8_t)value); break;
	case 's': got = board_inb(&b->board, 0x64); break;
	case 'r': got = board_inb(&b->board, 0x60); break;
	case 'i': got = b->board.level[1]; break;
	default: ck_abort_msg("%s: step %c", name, what);
	}
	expect_msg(got == value, "%s: %x instead of %x before '%s'", name, got, value, at);
}

START_TEST(dialogue)
{
	const struct dialogue *d = &dialogues[_i];
	unsigned int value;
	struct bench b;
	char what;
	int n;

	bench_init(&b);
	for (const char *at = d->steps; sscanf(at, " %c %x%n", &what, &value, &n) == 2; at += n)
		step(&b, what, value, d->name, at + n);
	expect_eq(b.resets, 0);
}
END_TEST

/* Of all commands those with the high nibble set and bit 0 clear reset, and of all bytes for the output port every even one. */
START_TEST(every_command)
{
	struct bench b;

	for (unsigned int command = 0; command < 256; command++) {
		bench_init(&b);
		board_outb(&b.board, 0x64, (uint8_t)command);
		expect_eq(b.resets, command >= 0xf0 && command % 2 == 0);
		for (unsigned int byte = 0; byte < 256; byte++) {
			b.resets = 0;
			board_outb(&b.board, 0x64, 0xd1);
			board_outb(&b.board, 0x60, (uint8_t)byte);
			expect_eq(b.resets, byte % 2 == 0);
		}
	}
}
END_TEST

/* A kernel that waits until its byte is taken never waits: this controller is always done. */
START_TEST(never_busy)
{
	struct random r = random_start("i8042 busy");
	struct bench b;

	bench_init(&b);
	for (int i = 0; i < 20000; i++) {
		board_outb(&b.board, random_below(&r, 2) ? 0x64 : 0x60, (uint8_t)random_next(&r));
		expect(!(board_inb(&b.board, 0x64) & 2));
	}
}
END_TEST

static void trial_init(void *bench)
{
	bench_init(bench);
}

static uint64_t trial_use(struct board *board, uint64_t dice)
{
	static const uint8_t some[] = {0x20, 0x60, 0xaa, 0xd0, 0xd1, 0xd2, 0xad, 0xae};
	struct random r = {dice};
	uint64_t port = random_below(&r, 2) ? 0x64 : 0x60;

	if (random_below(&r, 2))
		return board_inb(board, port);
	board_outb(board, port, random_below(&r, 2) ? some[random_below(&r, 8)] : (uint8_t)random_next(&r));
	return 0;
}

START_TEST(copies_and_damage)
{
	static const struct trial trial = {.name = "i8042 trial", .size = sizeof(struct bench), .init = trial_init, .use = trial_use};

	trial_run(&trial, 200, 200);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("i8042");

	tcase_set_timeout(tcase, 50);
	tcase_add_loop_test(tcase, dialogue, 0, sizeof(dialogues) / sizeof(*dialogues));
	tcase_add_test(tcase, every_command);
	tcase_add_test(tcase, never_busy);
	tcase_add_test(tcase, copies_and_damage);
	return run_case("i8042", tcase);
}
