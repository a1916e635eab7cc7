/*
 * A virtio console and an entropy device: bytes out, bytes in, and buffers that are none.
 */
#include "vmm/virtio_console.h"

#include "tests/unit/virtio_driver.h"
#include "vmm/virtio_entropy.h"

#define FEATURES (1ull << 32 | 1ull << 28)

enum { RECEIVE, TRANSMIT };

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct virtio_console console;
	struct virtio_entropy entropy;
	char said[200];
	size_t used;
	unsigned int fills;
	int fill_error;
};

static struct mem shared;

static void put(void *arg, uint8_t byte)
{
	struct bench *b = arg;

	if (b->used < sizeof(b->said) - 1)
		b->said[b->used++] = (char)byte;
}

static int fill(void *arg, void *bytes, size_t size)
{
	struct bench *b = arg;

	expect(size >= 1 && size <= VIRTIO_ENTROPY_BYTES);
	memset(bytes, 0x40 + (int)b->fills++, size);
	return b->fill_error;
}

static void bench_init(struct bench *b, bool entropy)
{
	memset(b, 0, sizeof(*b));
	if (!shared.size)
		ck_assert_int_eq(mem_create(&shared, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	if (entropy)
		virtio_entropy_init(&b->entropy, &b->board.bus, driver_place(&b->board), &shared, fill, b);
	else
		virtio_console_init(&b->console, &b->board.bus, driver_place(&b->board), &shared, put, b);
}

START_TEST(sends)
{
	struct bench b;

	bench_init(&b, false);
	driver_start(&b.board, &shared, FEATURES, 2);
	ck_assert_int_eq(mem_write(&shared, DRIVER_DATA, "hello, world", 12), 0);
	driver_describe(&shared, TRANSMIT, 0, DRIVER_DATA, 5, DRIVER_NEXT, 1);
	driver_describe(&shared, TRANSMIT, 1, DRIVER_DATA + 5, 7, 0, 0);
	driver_offer(&shared, TRANSMIT, 0);
	driver_set(&b.board, REG_NOTIFY, TRANSMIT);
	ck_assert_str_eq(b.said, "hello, world");
	expect_eq(driver_written(&shared, TRANSMIT), 0);
	expect_eq(b.board.rises[DRIVER_IRQ], 1);
	/* Much is cut off, and nothing holds us for long. */
	driver_describe(&shared, TRANSMIT, 0, 0, MEM_MIN_BYTES, 0, 0);
	driver_offer(&shared, TRANSMIT, 0);
	driver_set(&b.board, REG_NOTIFY, TRANSMIT);
	expect_eq(driver_index(&shared, DRIVER_USED, TRANSMIT), 2);
}
END_TEST

START_TEST(receives)
{
	struct bench b;
	char got[8] = "";

	bench_init(&b, false);
	expect_eq(virtio_console_room(&b.console), 0);
	driver_start(&b.board, &shared, FEATURES, 2);
	expect_eq(virtio_console_room(&b.console), 0);
	driver_describe(&shared, RECEIVE, 0, DRIVER_DATA, 3, DRIVER_WRITE | DRIVER_NEXT, 1);
	driver_describe(&shared, RECEIVE, 1, DRIVER_DATA + 0x100, 4, DRIVER_WRITE, 0);
	driver_offer(&shared, RECEIVE, 0);
	driver_set(&b.board, REG_NOTIFY, RECEIVE);
	expect_eq(driver_index(&shared, DRIVER_USED, RECEIVE), 0);
	expect_eq(virtio_console_room(&b.console), 7);
	expect_eq(virtio_console_room(&b.console), 7);
	virtio_console_receive(&b.console, "abcde", 5);
	expect_eq(driver_index(&shared, DRIVER_USED, RECEIVE), 1);
	expect_eq(driver_written(&shared, RECEIVE), 5);
	ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, got, 3), 0);
	ck_assert_int_eq(mem_read(&shared, DRIVER_DATA + 0x100, got + 3, 2), 0);
	ck_assert_str_eq(got, "abcde");
	expect_eq(b.board.rises[DRIVER_IRQ], 1);
	expect_eq(virtio_console_room(&b.console), 0);
	expect_eq(driver_get(&b.board, REG_STATUS), 15);
}
END_TEST

/* A buffer that takes nothing would be the next one for ever. */
START_TEST(receives_nowhere)
{
	struct bench b;

	bench_init(&b, false);
	driver_start(&b.board, &shared, FEATURES, 2);
	driver_describe(&shared, RECEIVE, 0, DRIVER_DATA, 3, 0, 0);
	driver_offer(&shared, RECEIVE, 0);
	expect_eq(virtio_console_room(&b.console), 0);
	expect_eq(driver_get(&b.board, REG_STATUS), 0x4f);
	expect_eq(virtio_console_room(&b.console), 0);
}
END_TEST

/* How many bytes a request of `size` gets. */
static uint32_t entropy_of(struct bench *b, uint32_t size, uint16_t flags)
{
	driver_describe(&shared, 0, 0, DRIVER_DATA, size, flags, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b->board, REG_NOTIFY, 0);
	return driver_written(&shared, 0);
}

START_TEST(entropy)
{
	struct bench b;
	uint8_t got[VIRTIO_ENTROPY_BYTES + 1];

	bench_init(&b, true);
	driver_start(&b.board, &shared, FEATURES, 1);
	memset(mem_at(&shared, DRIVER_DATA, 1000, MEM_WRITE), 0, 1000);
	for (uint32_t size = 1; size < 200; size++)
		expect_eq(entropy_of(&b, size, DRIVER_WRITE), size < VIRTIO_ENTROPY_BYTES ? size : VIRTIO_ENTROPY_BYTES);
	expect_eq(b.fills, 199);
	ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, got, sizeof(got)), 0);
	for (unsigned int i = 0; i < VIRTIO_ENTROPY_BYTES; i++)
		expect_eq(got[i], (0x40 + 198) & 0xff);
	expect_eq(got[VIRTIO_ENTROPY_BYTES], 0);
	expect_eq(entropy_of(&b, 8, 0), 0); /* nowhere to put them */
	expect_eq(b.fills, 199);
	b.fill_error = -5;
	expect_eq(entropy_of(&b, 8, DRIVER_WRITE), 0);
	expect_eq(driver_get(&b.board, REG_STATUS), 15);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtio_console");

	tcase_add_test(tcase, sends);
	tcase_add_test(tcase, receives);
	tcase_add_test(tcase, receives_nowhere);
	tcase_add_test(tcase, entropy);
	return run_case("virtio_console", tcase);
}
