/*
 * The transport of virtio devices, by the tables of the standard, on a device of the test's own.
 */
#include "vmm/virtio_device.h"

#include "tests/unit/virtio_driver.h"

#define FEATURE 0x5ull
#define OFFERED (FEATURE | 1ull << 28 | 1ull << 29 | 1ull << 32)

static const uint8_t config[6] = {1, 2, 3, 4, 5, 6};

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct virtio_device v;
	struct mem mem;
	unsigned int served[2];
	uint32_t extra; /* what the device has beyond the transport */
};

static struct bench *bench_of(struct virtio_device *v)
{
	return (struct bench *)((char *)v - offsetof(struct bench, v));
}

static int64_t toy_serve(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c)
{
	bench_of(v)->served[queue]++;
	bench_of(v)->extra++;
	return (uint32_t)c->writable_bytes;
}

static void toy_settle(struct virtio_device *v)
{
	bench_of(v)->extra = 0;
}

static void toy_visit(struct virtio_device *v, struct state *s)
{
	state_u32(s, &bench_of(v)->extra);
}

static const struct virtio_ops toy = {
	.name = "toy", .id = 77, .queues = 2, .served = 1, .serve = toy_serve, .settle = toy_settle, .visit = toy_visit,
};

/* RAM of all benches, which live long and are many in the trials. */
static struct mem shared;

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	if (!shared.size)
		ck_assert_int_eq(mem_create(&shared, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	virtio_device_init(&b->v, &b->board.bus, driver_place(&b->board), &shared, &toy, FEATURE);
	b->v.config = config;
	b->v.config_size = sizeof(config);
}

START_TEST(identity)
{
	struct bench b;

	bench_init(&b);
	expect_eq(driver_get(&b.board, REG_MAGIC), 0x74726976);
	expect_eq(driver_get(&b.board, REG_VERSION), 2);
	expect_eq(driver_get(&b.board, REG_DEVICE), 77);
	expect_eq(driver_features(&b.board), OFFERED);
	driver_set(&b.board, REG_FEATURES_SEL, 2);
	expect_eq(driver_get(&b.board, REG_FEATURES), 0);
	for (uint32_t q = 0; q < 5; q++) {
		driver_set(&b.board, REG_QUEUE_SEL, q);
		expect_eq(driver_get(&b.board, REG_QUEUE_MAX), q < 2 ? 128 : 0);
		expect_eq(driver_get(&b.board, REG_QUEUE_READY), 0);
	}
	expect_eq(driver_get(&b.board, 0xb0), UINT32_MAX); /* no shared memory */
	expect_eq(driver_get(&b.board, 0xfc), 0);
}
END_TEST

/* Only 32 bits at a multiple of 4 are a register. */
START_TEST(odd_sizes)
{
	struct bench b;

	bench_init(&b);
	for (uint8_t size = 1; size <= 8; size++)
		for (uint64_t at = 0; at < 4; at++) {
			if (size == 4 && at == 0)
				continue;
			expect_eq(driver_read(&b.board, REG_MAGIC + at, size), 0);
			driver_write(&b.board, REG_STATUS + at, size, 1);
			expect_eq(driver_get(&b.board, REG_STATUS), 0);
		}
	driver_set(&b.board, REG_STATUS, 1);
	expect_eq(driver_get(&b.board, REG_STATUS), 1);
}
END_TEST

START_TEST(configuration)
{
	struct bench b;

	bench_init(&b);
	for (uint8_t size = 1; size <= 8; size++)
		for (uint64_t at = 0; at < 10; at++) {
			uint64_t expected = 0;

			for (uint64_t i = at; i < at + size && i < sizeof(config); i++)
				expected |= (uint64_t)config[i] << (8 * (i - at));
			driver_write(&b.board, REG_CONFIG + at, size, UINT64_MAX);
			expect_eq(driver_read(&b.board, REG_CONFIG + at, size), expected);
		}
	expect_eq(driver_read(&b.board, VIRTIO_WINDOW - 8, 8), 0);
}
END_TEST

START_TEST(negotiation)
{
	struct bench b;

	bench_init(&b);
	expect_eq(driver_negotiate(&b.board, OFFERED), 11);
	expect(virtio_device_has(&b.v, FEATURE));
	expect_eq(driver_negotiate(&b.board, OFFERED | 2), 3);
	expect_eq(driver_negotiate(&b.board, OFFERED | 1ull << 40), 3);
	expect_eq(driver_negotiate(&b.board, OFFERED & ~(1ull << 32)), 3); /* legacy */
	driver_set(&b.board, REG_STATUS, 7); /* DRIVER_OK without features */
	expect_eq(driver_get(&b.board, REG_STATUS), 3);
	expect_eq(driver_negotiate(&b.board, 1ull << 32), 11);
	expect(!virtio_device_has(&b.v, FEATURE));
	driver_set(&b.board, REG_ACCEPT_SEL, 0);
	driver_set(&b.board, REG_ACCEPT, FEATURE); /* too late */
	expect(!virtio_device_has(&b.v, FEATURE));
	driver_set(&b.board, REG_STATUS, 0x80);
	expect_eq(driver_get(&b.board, REG_STATUS), 0x8b); /* bits are only added */
	driver_set(&b.board, REG_STATUS, 0xffffff40);
	expect_eq(driver_get(&b.board, REG_STATUS), 0x8b); /* the device's own is not the driver's to set */
}
END_TEST

START_TEST(serving)
{
	struct bench b;

	bench_init(&b);
	driver_start(&b.board, &shared, OFFERED & ~(1ull << 29), 2);
	for (unsigned int i = 0; i < 3; i++) {
		driver_describe(&shared, 0, i, DRIVER_DATA, 10 + i, DRIVER_WRITE, 0);
		driver_offer(&shared, 0, (uint16_t)i);
	}
	expect_eq(b.served[0], 0);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_eq(b.served[0], 3);
	expect_eq(driver_index(&shared, DRIVER_USED, 0), 3);
	expect_eq(driver_written(&shared, 0), 12);
	expect_eq(b.board.rises[DRIVER_IRQ], 1);
	expect_eq(driver_get(&b.board, REG_INTERRUPT), 1);
	driver_set(&b.board, REG_ACK, 2);
	expect(b.board.level[DRIVER_IRQ]);
	driver_set(&b.board, REG_ACK, 1);
	expect(!b.board.level[DRIVER_IRQ]);
	driver_set(&b.board, REG_NOTIFY, 0); /* nothing to do: no interrupt */
	expect_eq(b.board.rises[DRIVER_IRQ], 1);
	driver_describe(&shared, 1, 0, DRIVER_DATA, 10, DRIVER_WRITE, 0);
	driver_offer(&shared, 1, 0);
	driver_set(&b.board, REG_NOTIFY, 1); /* the device looks at this one by itself */
	driver_set(&b.board, REG_NOTIFY, 2);
	driver_set(&b.board, REG_NOTIFY, UINT32_MAX);
	expect_eq(b.served[1], 0);
	expect_eq(driver_get(&b.board, REG_STATUS), 15);
}
END_TEST

/* Before DRIVER_OK no buffer is touched. */
START_TEST(too_early)
{
	struct bench b;

	bench_init(&b);
	driver_set(&b.board, REG_QUEUE_SEL, 0);
	driver_set(&b.board, REG_QUEUE_READY, 1); /* without features */
	expect_eq(driver_get(&b.board, REG_QUEUE_READY), 0);
	memset(mem_at(&shared, 0, MEM_MIN_BYTES, MEM_WRITE), 0, MEM_MIN_BYTES);
	driver_negotiate(&b.board, OFFERED);
	driver_queue(&b.board, 0, DRIVER_SIZE);
	expect_eq(driver_get(&b.board, REG_QUEUE_READY), 1);
	driver_describe(&shared, 0, 0, DRIVER_DATA, 10, DRIVER_WRITE, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_eq(b.served[0], 0);
	driver_set(&b.board, REG_QUEUE_SIZE, 8); /* not while it is ready */
	driver_set(&b.board, REG_TABLE, 0x50000);
	expect_eq(b.v.queue[0].size, DRIVER_SIZE);
	expect_eq(b.v.queue[0].descriptors, DRIVER_TABLE);
	driver_set(&b.board, REG_STATUS, 15);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_eq(b.served[0], 1);
}
END_TEST

/* What breaks a queue is told, and only a reset helps. */
static void expect_broken(struct bench *b)
{
	unsigned int served = b->served[0];

	expect_eq(driver_get(&b->board, REG_STATUS), 0x4f);
	expect_eq(driver_get(&b->board, REG_INTERRUPT) & 2, 2);
	expect(b->board.level[DRIVER_IRQ]);
	driver_describe(&shared, 0, 0, DRIVER_DATA, 10, DRIVER_WRITE, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b->board, REG_NOTIFY, 0);
	expect_eq(b->served[0], served);
	driver_set(&b->board, REG_STATUS, 0);
	expect(!b->board.level[DRIVER_IRQ]);
	driver_start(&b->board, &shared, OFFERED, 2);
	driver_describe(&shared, 0, 0, DRIVER_DATA, 10, DRIVER_WRITE, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b->board, REG_NOTIFY, 0);
	expect_eq(b->served[0], served + 1);
}

START_TEST(broken_queues)
{
	struct bench b;
	const uint16_t jump = 17;

	bench_init(&b);
	driver_start(&b.board, &shared, OFFERED, 2);
	driver_offer(&shared, 0, 99);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_broken(&b);
	driver_start(&b.board, &shared, OFFERED, 2);
	ck_assert_int_eq(mem_write(&shared, DRIVER_AVAILABLE + 2, &jump, 2), 0);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_broken(&b);
	driver_negotiate(&b.board, OFFERED);
	driver_queue(&b.board, 0, 3);
	expect_eq(driver_get(&b.board, REG_STATUS), 0x4b);
	expect_eq(driver_get(&b.board, REG_INTERRUPT), 0); /* no driver to be told yet */
}
END_TEST

/* Any access with any value, and rings that have been filled with numbers. */
static uint64_t use(struct board *board, uint64_t dice)
{
	static const uint16_t registers[] = {REG_FEATURES_SEL, REG_ACCEPT, REG_ACCEPT_SEL, REG_QUEUE_SEL, REG_QUEUE_SIZE,
					     REG_QUEUE_READY, REG_NOTIFY, REG_ACK, REG_STATUS, REG_TABLE, REG_AVAILABLE, REG_USED};
	struct random r = {dice};
	uint16_t at = registers[random_below(&r, 12)];

	switch (random_below(&r, 10)) {
	case 0:
		driver_start(board, &shared, OFFERED, 2);
		break;
	case 1:
	case 2:
		driver_describe(&shared, 0, (unsigned int)random_below(&r, 16), DRIVER_DATA, 1 + (uint32_t)random_below(&r, 9),
				(uint16_t)random_below(&r, 4), (uint16_t)random_below(&r, 17));
		driver_offer(&shared, 0, (uint16_t)random_below(&r, 16));
		break;
	case 3:
		driver_write(board, random_below(&r, 0x200), (uint8_t)(1 + random_below(&r, 8)), random_next(&r));
		break;
	case 4:
		driver_set(board, at, (uint32_t)random_next(&r));
		break;
	case 5:
		driver_set(board, REG_NOTIFY, 0);
		break;
	default:
		driver_set(board, at, (uint32_t)random_below(&r, 20));
	}
	return driver_read(board, random_below(&r, 0x120), 4);
}

static void trial_init(void *bench)
{
	bench_init(bench);
}

/* Two devices on the same rings would see one another's work: each starts with rings of zeros. */
static uint64_t use_apart(struct board *board, uint64_t dice)
{
	memset(mem_at(&shared, DRIVER_TABLE, DRIVER_QUEUE_STRIDE, MEM_WRITE), 0, DRIVER_QUEUE_STRIDE);
	memset(mem_at(&shared, DRIVER_AVAILABLE, DRIVER_QUEUE_STRIDE, MEM_WRITE), 0, DRIVER_QUEUE_STRIDE);
	memset(mem_at(&shared, DRIVER_USED, DRIVER_QUEUE_STRIDE, MEM_WRITE), 0, DRIVER_QUEUE_STRIDE);
	return use(board, dice);
}

START_TEST(trials)
{
	static const struct trial t = {.name = "virtio_mmio", .size = sizeof(struct bench), .init = trial_init, .use = use_apart};

	trial_run(&t, 30, 40);
}
END_TEST

START_TEST(bad_fields)
{
	static const struct bad_field bad[] = {
		BAD(struct virtio_device, status, 0x100), BAD(struct virtio_device, status, 4), BAD(struct virtio_device, interrupts, 4),
	};
	struct bench b;

	bench_init(&b);
	trial_bad_field(&b.board, &b.v, &bad[_i]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtio_mmio");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, identity);
	tcase_add_test(tcase, odd_sizes);
	tcase_add_test(tcase, configuration);
	tcase_add_test(tcase, negotiation);
	tcase_add_test(tcase, serving);
	tcase_add_test(tcase, too_early);
	tcase_add_test(tcase, broken_queues);
	tcase_add_test(tcase, trials);
	if (suite_forks())
		tcase_add_loop_test_raise_signal(tcase, bad_fields, 6, 0, 3);
	return run_case("virtio_mmio", tcase);
}
