/*
 * A virtio balloon: what is reported are the whole pages of buffers that the device may write, in either queue of reports, and nothing
 * else is anybody's to take.
 */
#include "vmm/virtio_balloon.h"

#include "tests/unit/virtio_driver.h"
#include "vmm/state.h"

#define FEATURES (1ull << 32 | VIRTIO_BALLOON_REPORTING)
#define DATA DRIVER_DATA
#define MOST 8u

enum { INFLATE, DEFLATE, REPORTS_COMPACT, HINTS, REPORTS };

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct virtio_balloon balloon;
	unsigned int calls;
	uint64_t gpa[MOST], size[MOST], bytes;
};

static struct mem shared;

/* Of each call one page is not given back. */
static uint64_t discard(void *arg, uint64_t gpa, uint64_t size)
{
	struct bench *b = arg;

	if (b->calls < MOST) {
		b->gpa[b->calls] = gpa;
		b->size[b->calls] = size;
	}
	b->calls++;
	b->bytes += size;
	return size / PAGE_SIZE - 1;
}

static void bench_init(struct bench *b, uint64_t features)
{
	memset(b, 0, sizeof(*b));
	if (!shared.size)
		ck_assert_int_eq(mem_create(&shared, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	virtio_balloon_init(&b->balloon, &b->board.bus, driver_place(&b->board), &shared, discard, b);
	driver_start(&b->board, &shared, features, VIRTIO_BALLOON_QUEUES);
}

static void send(struct bench *b, unsigned int queue)
{
	uint16_t before = driver_index(&shared, DRIVER_USED, queue);

	driver_offer(&shared, queue, 0);
	driver_set(&b->board, REG_NOTIFY, queue);
	expect_eq(driver_index(&shared, DRIVER_USED, queue), before + 1);
	expect_eq(driver_written(&shared, queue), 0);
}

START_TEST(reports)
{
	static const unsigned int queues[] = {REPORTS, REPORTS_COMPACT};
	unsigned int queue = queues[_i];
	struct bench b;

	bench_init(&b, FEATURES);
	expect_eq(driver_get(&b.board, REG_DEVICE), 5);
	expect_eq(driver_features(&b.board) & 0x3f, VIRTIO_BALLOON_REPORTING);
	driver_describe(&shared, queue, 0, DATA, PAGE_SIZE, DRIVER_NEXT, 1); /* to be read */
	driver_describe(&shared, queue, 1, DATA + 2 * PAGE_SIZE, 3 * PAGE_SIZE, DRIVER_WRITE | DRIVER_NEXT, 2);
	driver_describe(&shared, queue, 2, DATA + 6 * PAGE_SIZE + 8, 2 * PAGE_SIZE, DRIVER_WRITE | DRIVER_NEXT, 3);
	driver_describe(&shared, queue, 3, DATA + 9 * PAGE_SIZE + 8, 2 * PAGE_SIZE - 9, DRIVER_WRITE, 0); /* no whole page */
	send(&b, queue);
	expect_eq(b.calls, 2);
	expect_eq(b.gpa[0], DATA + 2 * PAGE_SIZE);
	expect_eq(b.size[0], 3 * PAGE_SIZE);
	expect_eq(b.gpa[1], DATA + 7 * PAGE_SIZE);
	expect_eq(b.size[1], PAGE_SIZE);
	expect_eq(b.balloon.stats.reports, 1);
	expect_eq(b.balloon.stats.reported, 4);
	expect_eq(b.balloon.stats.given, 2);
	expect_eq(b.board.rises[DRIVER_IRQ], 1);
}
END_TEST

/* The same again and again in one chain comes to an end. */
START_TEST(is_bounded)
{
	struct bench b;

	bench_init(&b, FEATURES);
	for (unsigned int i = 0; i < DRIVER_SIZE; i++)
		driver_describe(&shared, REPORTS, i, 0, MEM_MIN_BYTES - PAGE_SIZE, DRIVER_WRITE | (i + 1 < DRIVER_SIZE ? DRIVER_NEXT : 0),
				(uint16_t)(i + 1));
	send(&b, REPORTS);
	expect_eq(b.bytes, MEM_MIN_BYTES);
}
END_TEST

START_TEST(takes_nothing_else)
{
	static const unsigned int others[] = {INFLATE, DEFLATE, HINTS};
	struct bench b;

	bench_init(&b, FEATURES);
	for (unsigned int i = 0; i < 3; i++) {
		driver_describe(&shared, others[i], 0, DATA, 64, DRIVER_NEXT, 1);
		driver_describe(&shared, others[i], 1, DATA + PAGE_SIZE, PAGE_SIZE, DRIVER_WRITE, 0);
		send(&b, others[i]);
	}
	for (unsigned int at = 0; at < 16; at += 4) {
		expect_eq(driver_get(&b.board, REG_CONFIG + at), 0); /* there is no target */
		driver_set(&b.board, REG_CONFIG + at, 99);
		expect_eq(driver_get(&b.board, REG_CONFIG + at), 0);
	}
	expect_eq(driver_negotiate(&b.board, FEATURES | 1ull << 4), 3); /* a value for free pages */
	driver_start(&b.board, &shared, 1ull << 32, VIRTIO_BALLOON_QUEUES);
	driver_describe(&shared, REPORTS, 0, DATA, PAGE_SIZE, DRIVER_WRITE, 0);
	send(&b, REPORTS);
	expect_eq(b.calls, 0);
	expect_eq(b.balloon.stats.reports, 0);
}
END_TEST

START_TEST(is_saved)
{
	struct state save, load;
	struct bench b, copy;

	bench_init(&b, FEATURES);
	driver_describe(&shared, REPORTS, 0, DATA, PAGE_SIZE, DRIVER_WRITE, 0);
	send(&b, REPORTS);
	state_save_init(&save);
	bus_visit(&b.board.bus, &save);
	ck_assert_ptr_null(state_error(&save));
	bench_init(&copy, 1ull << 32);
	driver_describe(&shared, REPORTS, 0, DATA, PAGE_SIZE, DRIVER_WRITE, 0);
	state_load_init(&load, save.bytes, save.size);
	bus_visit(&copy.board.bus, &load);
	ck_assert_ptr_null(state_error(&load));
	expect_eq(driver_get(&copy.board, REG_STATUS), 15);
	expect(virtio_device_has(&copy.balloon.v, VIRTIO_BALLOON_REPORTING));
	for (unsigned int i = 0; i < VIRTIO_BALLOON_QUEUES; i++) {
		expect_eq(copy.balloon.v.queue[i].next, b.balloon.v.queue[i].next);
		expect_eq(copy.balloon.v.queue[i].descriptors, b.balloon.v.queue[i].descriptors);
	}
	state_free(&save);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtio_balloon");

	tcase_add_loop_test(tcase, reports, 0, 2);
	tcase_add_test(tcase, is_bounded);
	tcase_add_test(tcase, takes_nothing_else);
	tcase_add_test(tcase, is_saved);
	return run_case("virtio_balloon", tcase);
}
