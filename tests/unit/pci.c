/*
 * The PCI bus as a kernel looks at it, and virtio devices on it, by the tables of their standards.
 */
#include "vmm/pci.h"

#include "tests/unit/board.h"
#include "vmm/mem.h"
#include "vmm/pc_power.h"
#include "vmm/virtio_entropy.h"
#include "vmm/virtio_pci.h"

#define GPA 0xd1003000u
#define IRQ 12u
#define NUMBER 3u
#define FEATURES (1ull << 32 | 1ull << 28)

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct pci pci;
	struct pc_power power;
	struct pci_function function;
	struct virtio_entropy entropy;
	unsigned int resets;
};

static struct mem shared;

static void ended(void *arg, enum pc_end end, uint8_t status)
{
	((struct bench *)arg)->resets += end == PC_RESET;
}

static int fill(void *arg, void *bytes, size_t size)
{
	memset(bytes, 0xa5, size);
	return 0;
}

static void bench_init(struct bench *b)
{
	struct virtio_place place = {.transport = &virtio_pci, .gpa = GPA};

	memset(b, 0, sizeof(*b));
	if (!shared.size)
		ck_assert_int_eq(mem_create(&shared, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	place.irq = board_irq(&b->board, IRQ);
	pci_init(&b->pci, &b->board.bus);
	pc_power_init(&b->power, &b->board.bus, &b->pci, ended, b);
	virtio_entropy_init(&b->entropy, &b->board.bus, &place, &shared, fill, b);
	virtio_pci_add(&b->pci, NUMBER, &b->function, &b->entropy.v, GPA, IRQ);
}

static uint32_t address(unsigned int device, unsigned int at)
{
	return 0x80000000u | device << 11 | (at & 0xfc);
}

static uint32_t config(struct board *b, unsigned int device, unsigned int at, uint8_t size)
{
	board_out(b, 0xcf8, 4, address(device, at));
	return (uint32_t)board_in(b, 0xcfc + at % 4, size);
}

static void set_config(struct board *b, unsigned int device, unsigned int at, uint8_t size, uint32_t value)
{
	board_out(b, 0xcf8, 4, address(device, at));
	board_out(b, 0xcfc + at % 4, size, value);
}

START_TEST(finding)
{
	struct bench b;

	bench_init(&b);
	/* As Linux asks whether there is configuration mechanism 1. */
	board_outb(&b.board, 0xcfb, 1);
	board_out(&b.board, 0xcf8, 4, 0x80000000);
	expect_eq(board_in(&b.board, 0xcf8, 4), 0x80000000);
	expect_eq(config(&b.board, 0, 0x0a, 2), 0x0600);
	for (unsigned int device = 0; device < 32; device++) {
		bool there = device == 0 || device == NUMBER;

		expect_eq(config(&b.board, device, 0, 4) != UINT32_MAX, there);
		if (!there)
			set_config(&b.board, device, 4, 2, 7);
	}
	board_out(&b.board, 0xcf8, 4, address(NUMBER, 0) | 0x10000); /* bus 1 */
	expect_eq(board_in(&b.board, 0xcfc, 4), UINT32_MAX);
	board_out(&b.board, 0xcf8, 4, address(NUMBER, 0) | 0x100); /* function 1 */
	expect_eq(board_in(&b.board, 0xcfc, 4), UINT32_MAX);
	board_out(&b.board, 0xcf8, 4, address(NUMBER, 0) & 0x7fffffff);
	expect_eq(board_in(&b.board, 0xcfc, 4), UINT32_MAX);
	expect_eq(b.resets, 0);
	board_outb(&b.board, 0xcf9, 4); /* the chipset's reset, in the middle of PCI's ports */
	expect_eq(b.resets, 1);
}
END_TEST

START_TEST(header)
{
	struct bench b;

	bench_init(&b);
	expect_eq(config(&b.board, NUMBER, 0, 4), 0x10441af4);
	expect_eq(config(&b.board, NUMBER, 0, 2), 0x1af4);
	expect_eq(config(&b.board, NUMBER, 2, 2), 0x1044);
	expect_eq(config(&b.board, NUMBER, 3, 1), 0x10);
	expect_eq(config(&b.board, NUMBER, 8, 1), 1);
	expect_eq(config(&b.board, NUMBER, 0x0e, 1), 0);
	expect_eq(config(&b.board, NUMBER, 0x3c, 2), 0x100 | IRQ);
	expect_eq(config(&b.board, NUMBER, 0x10, 4), GPA);
	set_config(&b.board, NUMBER, 0x10, 4, UINT32_MAX);
	expect_eq(config(&b.board, NUMBER, 0x10, 4), 0xfffff000);
	set_config(&b.board, NUMBER, 0x10, 4, GPA);
	expect_eq(config(&b.board, NUMBER, 0x10, 4), GPA);
	set_config(&b.board, NUMBER, 0x10, 4, 0xc0000000);
	expect_eq(config(&b.board, NUMBER, 0x10, 4), GPA);
	set_config(&b.board, NUMBER, 0x14, 4, UINT32_MAX);
	expect_eq(config(&b.board, NUMBER, 0x14, 4), 0);
	set_config(&b.board, NUMBER, 0, 4, 0);
	expect_eq(config(&b.board, NUMBER, 0, 4), 0x10441af4);
	set_config(&b.board, NUMBER, 4, 2, 0xffff);
	expect_eq(config(&b.board, NUMBER, 4, 4), 0x00100507);
	set_config(&b.board, NUMBER, 5, 1, 0);
	expect_eq(config(&b.board, NUMBER, 4, 2), 7);
	set_config(&b.board, NUMBER, 0x3c, 1, 77);
	expect_eq(config(&b.board, NUMBER, 0x3c, 2), 0x100 | 77);
	set_config(&b.board, 0, 0x10, 4, UINT32_MAX);
	expect_eq(config(&b.board, 0, 0x10, 4), 0);
}
END_TEST

/* Offset in the window of the part that the capability of this type tells of. */
static uint32_t part(struct bench *b, unsigned int type, uint32_t *bytes)
{
	for (unsigned int at = config(&b->board, NUMBER, 0x34, 1); at; at = config(&b->board, NUMBER, at + 1, 1)) {
		expect_eq(config(&b->board, NUMBER, at, 1), 9);
		if (config(&b->board, NUMBER, at + 3, 1) != type)
			continue;
		expect_eq(config(&b->board, NUMBER, at + 4, 1), 0);
		*bytes = config(&b->board, NUMBER, at + 12, 4);
		return config(&b->board, NUMBER, at + 8, 4);
	}
	ck_abort_msg("no capability of type %u", type);
	return 0;
}

static uint64_t window(struct bench *b, uint64_t at, uint8_t size)
{
	struct access a = {.kind = ACCESS_MMIO_READ, .size = size, .addr = GPA + at};

	bus_access(&b->board.bus, &a);
	return a.value;
}

static void set_window(struct bench *b, uint64_t at, uint8_t size, uint64_t value)
{
	struct access a = {.kind = ACCESS_MMIO_WRITE, .size = size, .addr = GPA + at, .value = value};

	bus_access(&b->board.bus, &a);
}

START_TEST(parts)
{
	struct bench b;
	uint32_t at[5], bytes[5];

	bench_init(&b);
	for (unsigned int i = 1; i < 5; i++) {
		at[i] = part(&b, i, &bytes[i]);
		expect(at[i] + bytes[i] <= VIRTIO_WINDOW);
		for (unsigned int k = 1; k < i; k++)
			expect(at[k] + bytes[k] <= at[i] || at[i] + bytes[i] <= at[k]);
	}
	expect(bytes[1] >= 0x38);
}
END_TEST

/* One request for random bytes, from negotiation on, by the common configuration. */
START_TEST(driving)
{
	struct bench b;
	uint32_t bytes, common, notify, isr;
	const struct {
		uint64_t gpa;
		uint32_t size;
		uint16_t flags, next;
	} d = {0x50000, 8, 2, 0};
	const uint16_t one = 1;
	uint64_t got;

	bench_init(&b);
	common = part(&b, 1, &bytes);
	notify = part(&b, 2, &bytes);
	isr = part(&b, 3, &bytes);
	memset(mem_at(&shared, 0, MEM_MIN_BYTES, MEM_WRITE), 0, MEM_MIN_BYTES);
	set_window(&b, common + 0x14, 1, 1);
	set_window(&b, common + 0x14, 1, 3);
	set_window(&b, common, 4, 1);
	expect_eq(window(&b, common, 4), 1);
	expect_eq(window(&b, common + 4, 4) & 1, 1);
	for (unsigned int i = 0; i < 2; i++) {
		set_window(&b, common + 8, 4, i);
		set_window(&b, common + 12, 4, (uint32_t)(FEATURES >> (32 * i)));
	}
	set_window(&b, common + 0x14, 1, 11);
	expect_eq(window(&b, common + 0x14, 1), 11);
	expect_eq(window(&b, common + 0x12, 2), 1);
	expect_eq(window(&b, common + 0x10, 2), 0xffff);
	set_window(&b, common + 0x16, 2, 1);
	expect_eq(window(&b, common + 0x18, 2), 0);
	set_window(&b, common + 0x16, 2, 0);
	expect_eq(window(&b, common + 0x18, 2), VIRTQUEUE_MAX);
	set_window(&b, common + 0x18, 2, 16);
	expect_eq(window(&b, common + 0x18, 2), 16);
	for (unsigned int i = 0; i < 3; i++) {
		set_window(&b, common + 0x20 + 8 * i, 4, 0x10000 * (i + 1));
		set_window(&b, common + 0x24 + 8 * i, 4, 7);
		expect_eq(window(&b, common + 0x24 + 8 * i, 4), 7);
		set_window(&b, common + 0x24 + 8 * i, 4, 0);
	}
	set_window(&b, common + 0x1c, 2, 1);
	expect_eq(window(&b, common + 0x1c, 2), 1);
	set_window(&b, common + 0x14, 1, 15);
	expect_eq(window(&b, common + 0x14, 1), 15);
	ck_assert_int_eq(mem_write(&shared, 0x10000, &d, sizeof(d)), 0);
	ck_assert_int_eq(mem_write(&shared, 0x20002, &one, 2), 0);
	set_window(&b, notify, 2, 0);
	ck_assert_int_eq(mem_read(&shared, 0x50000, &got, 8), 0);
	expect_eq(got, 0xa5a5a5a5a5a5a5a5);
	expect(b.board.level[IRQ]);
	expect_eq(window(&b, isr, 1), 1);
	expect(!b.board.level[IRQ]);
	expect_eq(window(&b, isr, 1), 0);
	set_window(&b, common + 0x14, 1, 0);
	expect_eq(window(&b, common + 0x14, 1), 0);
	expect_eq(window(&b, common + 0x1c, 2), 0);
}
END_TEST

static uint64_t use(struct board *board, uint64_t dice)
{
	struct random r = {dice};
	struct bench *b = (struct bench *)board;
	uint8_t size = (uint8_t)(1 + random_below(&r, 4));

	switch (random_below(&r, 4)) {
	case 0:
		set_config(board, (unsigned int)random_below(&r, 5), (unsigned int)random_below(&r, 64), 1,
			   (uint32_t)random_next(&r));
		break;
	case 1:
		board_out(board, 0xcf8 + random_below(&r, 8), size == 3 ? 4 : size, random_next(&r) & ~0xff00u);
		break;
	case 2:
		set_window(b, random_below(&r, 0x400), size, random_below(&r, 20));
		break;
	default:
		set_config(board, NUMBER, 0x10, 4, random_below(&r, 2) ? UINT32_MAX : (uint32_t)random_next(&r));
	}
	return window(b, random_below(&r, 0x400), size) << 32 | config(board, NUMBER, 4 * (unsigned int)random_below(&r, 16), 4);
}

static void trial_init(void *bench)
{
	bench_init(bench);
}

START_TEST(trials)
{
	static const struct trial t = {.name = "pci", .size = sizeof(struct bench), .init = trial_init, .use = use};

	trial_run(&t, 50, 100);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("pci");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, finding);
	tcase_add_test(tcase, header);
	tcase_add_test(tcase, parts);
	tcase_add_test(tcase, driving);
	tcase_add_test(tcase, trials);
	return run_case("pci", tcase);
}
