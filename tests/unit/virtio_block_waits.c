/*
 * A virtio disk whose host takes its time: the driver goes on meanwhile, and everything comes back once, and right.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/gate.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/virtio_block.h"

#define SECTORS 256u
#define BYTES (SECTORS * 512u)
#define FEATURES (1ull << 9 | 1ull << 28 | 1ull << 32) /* FLUSH, INDIRECT_DESC, VERSION_1 */
#define SLOTS 5u	       /* requests at once, of three descriptors each */
#define SLOT_BYTES 0x4000u

enum { READ = 0, WRITE = 1, FLUSH = 4 };
enum { OK, IOERR, UNTOUCHED = 0x55 };

/* What the host does. Calls on the disk's file wait while the gate is shut; what is cached does not. */
static struct {
	int fd;
	struct gate gate;
	pthread_mutex_t lock; /* of `random` */
	_Atomic unsigned int cached_percent, errors_percent;
	struct random random;
} host = {.gate = GATE_OPEN, .lock = PTHREAD_MUTEX_INITIALIZER};

ssize_t __real_preadv64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __real_pwritev64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int count, off_t at, int flags);
ssize_t __wrap_preadv64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_pread64(int fd, void *to, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *from, size_t size, off_t at);
int __wrap_fdatasync(int fd);

static bool chance(unsigned int percent)
{
	bool yes;

	pthread_mutex_lock(&host.lock);
	yes = random_below(&host.random, 100) < percent;
	pthread_mutex_unlock(&host.lock);
	return yes;
}

/* Returns false for an error of the host's. */
static bool pass_gate(int fd)
{
	if (fd != host.fd)
		return true;
	gate_pass(&host.gate);
	if (!chance(host.errors_percent))
		return true;
	errno = EIO;
	return false;
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *v, int count, off_t at, int flags)
{
	struct iovec first = *v;

	ck_assert_int_eq(flags, RWF_NOWAIT);
	if (!chance(host.cached_percent)) {
		errno = chance(50) ? EAGAIN : EOPNOTSUPP;
		return -1;
	}
	if (first.iov_len > 100 && chance(50))
		first.iov_len = 100; /* the rest is not cached, perhaps */
	return __real_preadv64(fd, &first, 1, at);
}

ssize_t __wrap_preadv64(int fd, const struct iovec *v, int count, off_t at)
{
	return pass_gate(fd) ? __real_preadv64(fd, v, count, at) : -1;
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int count, off_t at)
{
	return pass_gate(fd) ? __real_pwritev64(fd, v, count, at) : -1;
}

ssize_t __wrap_pread64(int fd, void *to, size_t size, off_t at)
{
	return __wrap_preadv64(fd, &(struct iovec){.iov_base = to, .iov_len = size}, 1, at);
}

ssize_t __wrap_pwrite64(int fd, const void *from, size_t size, off_t at)
{
	return __wrap_pwritev64(fd, &(struct iovec){.iov_base = (void *)(uintptr_t)from, .iov_len = size}, 1, at);
}

int __wrap_fdatasync(int fd)
{
	pass_gate(fd);
	return 0;
}

struct bench {
	struct board board;
	struct mem mem;
	struct virtio_block block;
	struct disk disk;
	int file;
	char path[40]; /* the disk's for as long as it is open */
	pthread_mutex_t lock;
	pthread_cond_t woken;
	unsigned int wakes;
};

static void wake(void *arg)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->wakes++;
	pthread_cond_signal(&b->woken);
	pthread_mutex_unlock(&b->lock);
}

/* Sleeps until the disk has something to give back, and has it do so. */
static void take(struct bench *b)
{
	pthread_mutex_lock(&b->lock);
	while (!b->wakes)
		pthread_cond_wait(&b->woken, &b->lock);
	b->wakes = 0;
	pthread_mutex_unlock(&b->lock);
	virtio_block_take(&b->block);
}

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->woken, NULL);
	ck_assert_int_eq(mem_create(&b->mem, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	b->file = memfd_create("disk", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(b->file, BYTES), 0);
	snprintf(b->path, sizeof(b->path), "/proc/self/fd/%d", b->file);
	ck_assert_int_eq(disk_open(&b->disk, b->path, DISK_READ_WRITE), 0);
	expect(b->disk.in_memory);
	b->disk.in_memory = false;
	host.fd = b->disk.fd;
	virtio_block_init(&b->block, &b->board.bus, driver_place(&b->board), &b->mem, &b->disk, 0, wake, b);
	driver_start(&b->board, &b->mem, FEATURES, 1);
}

static void bench_end(struct bench *b)
{
	virtio_block_destroy(&b->block);
	disk_close(&b->disk);
	close(b->file);
	mem_destroy(&b->mem);
}

static uint64_t data_of(unsigned int slot)
{
	return DRIVER_DATA + (uint64_t)slot * SLOT_BYTES;
}

static uint64_t status_of(unsigned int slot)
{
	return DRIVER_DATA - 0x100 + slot;
}

static void offer(struct bench *b, unsigned int slot, uint32_t type, uint64_t sector, uint32_t size)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header = {type, 0, sector};
	uint64_t header_at = DRIVER_DATA - 0x200 + 16 * slot;
	uint16_t i = (uint16_t)(3 * slot), data = type == WRITE ? 0 : DRIVER_WRITE;
	uint8_t status = UNTOUCHED;

	ck_assert_int_eq(mem_write(&b->mem, header_at, &header, sizeof(header)), 0);
	ck_assert_int_eq(mem_write(&b->mem, status_of(slot), &status, 1), 0);
	driver_describe(&b->mem, 0, i, header_at, 16, DRIVER_NEXT, size ? i + 1 : i + 2);
	driver_describe(&b->mem, 0, i + 1u, data_of(slot), size, DRIVER_NEXT | data, i + 2);
	driver_describe(&b->mem, 0, i + 2u, status_of(slot), 1, DRIVER_WRITE, 0);
	driver_offer(&b->mem, 0, i);
}

static void notify(struct bench *b)
{
	driver_set(&b->board, REG_NOTIFY, 0);
}

static uint8_t status(struct bench *b, unsigned int slot)
{
	return *(uint8_t *)mem_at(&b->mem, status_of(slot), 1, MEM_READ);
}

static uint16_t used(struct bench *b)
{
	return driver_index(&b->mem, DRIVER_USED, 0);
}

static bool pinned(struct bench *b)
{
	return mem_is_pinned(&b->mem, 0, MEM_MIN_BYTES);
}

/* The driver goes on, with other requests, too. */
START_TEST(goes_on)
{
	static struct bench b;

	bench_init(&b);
	gate_set(&host.gate, true);
	memset(mem_at(&b.mem, data_of(0), 512, MEM_WRITE), 7, 512);
	offer(&b, 0, WRITE, 3, 512);
	notify(&b);
	gate_await(&host.gate, 1);
	expect_eq(used(&b), 0);
	expect_eq(status(&b, 0), UNTOUCHED);
	expect(mem_is_pinned(&b.mem, data_of(0), 512));
	host.cached_percent = 100;
	offer(&b, 1, READ, 0, 512);
	notify(&b);
	expect_eq(used(&b), 1);
	expect_eq(status(&b, 1), OK);
	expect(!mem_is_pinned(&b.mem, data_of(1), 512));
	virtio_block_take(&b.block);
	expect_eq(used(&b), 1);
	driver_set(&b.board, REG_ACK, 1);
	expect(!b.board.level[DRIVER_IRQ]);
	gate_set(&host.gate, false);
	take(&b);
	expect_eq(used(&b), 2);
	expect_eq(status(&b, 0), OK);
	expect(b.board.level[DRIVER_IRQ]);
	expect(!pinned(&b));
	expect_eq(b.block.stats.written_bytes, 512);
	host.cached_percent = 0;
	offer(&b, 1, READ, 3, 512);
	notify(&b);
	take(&b);
	expect_eq(status(&b, 1), OK);
	expect(!memcmp(mem_at(&b.mem, data_of(1), 512, MEM_READ), mem_at(&b.mem, data_of(0), 512, MEM_READ), 512));
	bench_end(&b);
}
END_TEST

static void *open_later(void *arg)
{
	usleep(20000);
	gate_set(&host.gate, false);
	return NULL;
}

/* What ends all requests waits for them, and pages are the guest's again: a reset, a queue that stops, the disk's end. */
START_TEST(ends_wait)
{
	static struct bench b;
	pthread_t opener;

	bench_init(&b);
	gate_set(&host.gate, true);
	for (unsigned int slot = 0; slot < SLOTS; slot++)
		offer(&b, slot, WRITE, 4 * slot, 2048);
	notify(&b);
	gate_await(&host.gate, SLOTS);
	ck_assert_int_eq(pthread_create(&opener, NULL, open_later, NULL), 0);
	if (_i == 0) {
		driver_set(&b.board, REG_STATUS, 0);
		expect_eq(driver_get(&b.board, REG_STATUS), 0);
	} else if (_i == 1) {
		driver_set(&b.board, REG_QUEUE_SEL, 0);
		driver_set(&b.board, REG_QUEUE_READY, 0);
		expect_eq(used(&b), SLOTS);
	} else {
		virtio_block_settle(&b.block);
		expect_eq(used(&b), SLOTS);
	}
	expect_eq(host.gate.waiting, 0);
	expect(!pinned(&b));
	expect_eq(b.block.stats.written_bytes, SLOTS * 2048);
	ck_assert_int_eq(pthread_join(opener, NULL), 0);
	driver_start(&b.board, &b.mem, FEATURES, 1);
	offer(&b, 0, WRITE, 0, 512);
	notify(&b);
	virtio_block_settle(&b.block);
	expect_eq(used(&b), 1);
	bench_end(&b);
}
END_TEST

/* Descriptors that are used twice: more requests than the ring has entries. What was taken still ends. */
START_TEST(too_many)
{
	static struct bench b;

	bench_init(&b);
	gate_set(&host.gate, true);
	for (unsigned int i = 0; i <= DRIVER_SIZE; i++) {
		expect_eq(driver_get(&b.board, REG_STATUS), 15);
		offer(&b, 0, WRITE, 0, 512);
		notify(&b);
	}
	expect_eq(driver_get(&b.board, REG_STATUS), 15 | 0x40);
	gate_set(&host.gate, false);
	virtio_block_settle(&b.block);
	expect_eq(used(&b), 0);
	expect(!pinned(&b));
	driver_start(&b.board, &b.mem, FEATURES, 1);
	bench_end(&b);
}
END_TEST

/* To save it with requests under way would lose them: our bug. */
START_TEST(saved_too_early)
{
	static struct bench b;
	struct state s;

	bench_init(&b);
	gate_set(&host.gate, true);
	offer(&b, 0, WRITE, 0, 512);
	notify(&b);
	state_save_init(&s);
	board_visit(&b.board, &s);
}
END_TEST

/* What the driver believes of each slot. */
struct expected {
	bool busy;
	uint32_t type, size;
	uint64_t sector;
};

static bool overlaps(const struct expected *slots, uint64_t sector, uint32_t size)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (slots[i].busy && slots[i].sector < sector + size / 512 && sector < slots[i].sector + slots[i].size / 512)
			return true;
	return false;
}

static void offer_random(struct bench *b, struct random *r, struct expected *slots, unsigned int slot)
{
	uint32_t type = random_below(r, 10) ? random_below(r, 2) ? WRITE : READ : FLUSH;
	uint32_t size = type == FLUSH ? 0 : 512 * (1 + (uint32_t)random_below(r, 16));
	uint64_t sector = random_below(r, SECTORS - 16);
	uint8_t *data = mem_at(&b->mem, data_of(slot), SLOT_BYTES, MEM_WRITE);

	/* What overlaps has no order. */
	if (overlaps(slots, sector, size))
		return;
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next(r);
	slots[slot] = (struct expected){.busy = true, .type = type, .size = size, .sector = sector};
	offer(b, slot, type, sector, size);
}

/* A request that has come back; returns whether it went wrong, as the host may have it. */
static bool check_back(struct bench *b, const struct expected *e, unsigned int slot, uint8_t *model)
{
	uint8_t *data = mem_at(&b->mem, data_of(slot), SLOT_BYTES, MEM_READ);

	if (status(b, slot) == IOERR) {
		/* Nobody knows how far it came. */
		if (e->type == WRITE)
			expect_eq(pread(b->file, model + e->sector * 512, e->size, (off_t)e->sector * 512), e->size);
		return true;
	}
	expect_eq(status(b, slot), OK);
	if (e->type == WRITE)
		memcpy(model + e->sector * 512, data, e->size);
	else if (e->type == READ)
		for (uint32_t i = 0; i < e->size; i++)
			expect_msg(data[i] == model[e->sector * 512 + i], "slot %u, byte %u of sector %lu", slot, i, (unsigned long)e->sector);
	return false;
}

START_TEST(random_requests)
{
	struct random r = random_start("virtio_block waits");
	static uint8_t model[BYTES], file[BYTES];
	struct expected slots[SLOTS] = {{0}};
	unsigned int back = 0, errors = 0;
	struct capture err;
	static struct bench b;
	uint16_t seen = 0;

	bench_init(&b);
	capture_begin(&err);
	host.random = r;
	while (back < 6000) {
		unsigned int slot = (unsigned int)random_below(&r, SLOTS);

		host.cached_percent = (unsigned int)random_below(&r, 101);
		host.errors_percent = random_below(&r, 20) ? 0 : 20;
		if (!slots[slot].busy)
			offer_random(&b, &r, slots, slot);
		if (random_below(&r, 2))
			notify(&b);
		if (random_below(&r, 30) == 0)
			virtio_block_settle(&b.block);
		virtio_block_take(&b.block);
		for (uint16_t now = used(&b); seen != now; seen++, back++) {
			uint32_t head;

			ck_assert_int_eq(mem_read(&b.mem, DRIVER_USED + 4 + 8 * (seen % DRIVER_SIZE), &head, 4), 0);
			slot = head / 3;
			expect(head % 3 == 0 && slot < SLOTS && slots[slot].busy);
			slots[slot].busy = false;
			errors += check_back(&b, &slots[slot], slot, model);
		}
	}
	notify(&b);
	virtio_block_settle(&b.block);
	capture_end(&err);
	printf("virtio_block: %u requests, %u errors\n", back, errors);
	expect(!pinned(&b));
	for (unsigned int i = 0; i < SLOTS; i++)
		if (slots[i].busy)
			errors += check_back(&b, &slots[i], i, model);
	expect(errors > 0 && errors < 1000);
	expect_eq(b.block.stats.errors, errors);
	expect_eq(pread(b.file, file, BYTES, 0), BYTES);
	expect(!memcmp(file, model, BYTES));
	bench_end(&b);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtio_block_waits");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, goes_on);
	tcase_add_loop_test(tcase, ends_wait, 0, 3);
	tcase_add_test(tcase, too_many);
	if (suite_forks())
		tcase_add_test_raise_signal(tcase, saved_too_early, SIGABRT);
	tcase_add_test(tcase, random_requests);
	return run_case("virtio_block_waits", tcase);
}
