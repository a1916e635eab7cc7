/*
 * A virtio disk against bytes kept beside it: requests cut in every way, requests that are none, and a host that fails.
 */
#include "vmm/virtio_block.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/virtio_driver.h"

#define SECTORS 64u
#define BYTES (SECTORS * 512u)
#define FEATURES (1ull << 28 | 1ull << 32)
#define FLUSH (1ull << 9)
#define RO (1ull << 5)

enum { READ = 0, WRITE = 1, FLUSHES = 4, ID = 8 };
enum { OK, IOERR, UNSUPPORTED, UNTOUCHED = 0x55 };

#define HEADER (DRIVER_DATA - 0x100)
#define STATUS (DRIVER_DATA - 0x200)

/* What the host does to the disk's file: each call may fail, or do less than it was asked. */
static struct {
	int fd, read_error, write_error, flush_error;
	unsigned int flushes, short_by;
} host;

ssize_t __real_preadv64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_preadv64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __real_pwritev64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_pread64(int fd, void *to, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *from, size_t size, off_t at);
int __wrap_fdatasync(int fd);

static ssize_t fails(int error)
{
	errno = error;
	return -1;
}

/* As few bytes as a host may do at once. */
static ssize_t fewer(int fd, const struct iovec *v, int count, off_t at, int error,
		     ssize_t (*io)(int, const struct iovec *, int, off_t))
{
	struct iovec first = *v;

	if (fd != host.fd || (!error && !host.short_by))
		return io(fd, v, count, at);
	if (error)
		return fails(error);
	first.iov_len = first.iov_len < host.short_by ? first.iov_len : host.short_by;
	return io(fd, &first, 1, at);
}

ssize_t __wrap_preadv64(int fd, const struct iovec *v, int count, off_t at)
{
	return fewer(fd, v, count, at, host.read_error, __real_preadv64);
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int count, off_t at)
{
	return fewer(fd, v, count, at, host.write_error, __real_pwritev64);
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
	host.flushes++;
	return host.flush_error ? (int)fails(host.flush_error) : 0;
}

struct bench {
	struct board board; /* first: a board is what the trials see */
	struct virtio_block block;
	struct disk disk;
	int file;
	char path[40];
};

static struct mem shared;

static void wake(void *arg)
{
}

static int new_file(char *path, size_t room)
{
	int fd = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, BYTES + 100), 0); /* not a whole number of sectors */
	snprintf(path, room, "/proc/self/fd/%d", fd);
	return fd;
}

static void bench_init(struct bench *b, enum disk_use use)
{
	memset(b, 0, sizeof(*b));
	memset(&host, 0, sizeof(host));
	if (!shared.size)
		ck_assert_int_eq(mem_create(&shared, MEM_MIN_BYTES, MEM_HUGE_NEVER), 0);
	board_init(&b->board, 0);
	b->file = new_file(b->path, sizeof(b->path));
	if (use == DISK_REMAP)
		ck_assert_int_eq(fcntl(b->file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
	ck_assert_int_eq(disk_open(&b->disk, b->path, use), 0);
	host.fd = b->disk.fd;
	virtio_block_init(&b->block, &b->board.bus, driver_place(&b->board), &shared, &b->disk, 2, wake, b);
}

static void bench_end(struct bench *b)
{
	virtio_block_destroy(&b->block);
	disk_close(&b->disk);
	close(b->file);
}

static void start(struct bench *b, uint64_t features)
{
	driver_start(&b->board, &shared, features, 1);
}

static void put_header(uint32_t type, uint64_t sector)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header = {type, 0, sector};
	uint8_t status = UNTOUCHED;

	ck_assert_int_eq(mem_write(&shared, HEADER, &header, sizeof(header)), 0);
	ck_assert_int_eq(mem_write(&shared, STATUS, &status, 1), 0);
}

static uint8_t get_status(void)
{
	uint8_t status;

	ck_assert_int_eq(mem_read(&shared, STATUS, &status, 1), 0);
	return status;
}

/* One request with its data in one buffer at DRIVER_DATA; what its status is. */
static uint8_t request(struct bench *b, uint32_t type, uint64_t sector, uint32_t size)
{
	uint16_t before = driver_index(&shared, DRIVER_USED, 0);

	put_header(type, sector);
	driver_describe(&shared, 0, 0, HEADER, 16, DRIVER_NEXT, size ? 1 : 2);
	driver_describe(&shared, 0, 1, DRIVER_DATA, size, DRIVER_NEXT | (type == WRITE ? 0 : DRIVER_WRITE), 2);
	driver_describe(&shared, 0, 2, STATUS, 1, DRIVER_WRITE, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b->board, REG_NOTIFY, 0);
	expect_eq(driver_index(&shared, DRIVER_USED, 0), (uint16_t)(before + 1));
	expect_eq(driver_get(&b->board, REG_STATUS), 15);
	expect(!mem_is_pinned(&shared, 0, MEM_MIN_BYTES));
	return get_status();
}

START_TEST(identity)
{
	struct bench b;
	char id[21] = "";

	bench_init(&b, DISK_READ_WRITE);
	expect_eq(driver_get(&b.board, REG_DEVICE), 2);
	expect_eq(driver_features(&b.board) & (RO | FLUSH), FLUSH);
	expect_eq(driver_read(&b.board, REG_CONFIG, 8), SECTORS);
	start(&b, FEATURES);
	expect_eq(request(&b, ID, 0, 20), OK);
	ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, id, 20), 0);
	ck_assert_str_eq(id, "penumbra-disk2");
	expect_eq(request(&b, ID, 0, 19), IOERR);
	expect_eq(request(&b, 77, 0, 512), UNSUPPORTED);
	bench_end(&b);
	bench_init(&b, DISK_READ_ONLY);
	expect_eq(driver_features(&b.board) & (RO | FLUSH), RO | FLUSH);
	bench_end(&b);
}
END_TEST

/* What was shown, and whether it is exchanged: as a recorder and as a replayer would. */
static struct shown {
	uint8_t bytes[4 * BYTES];
	size_t size;
	bool done;	   /* what changes the disk was done before */
	bool answer;	   /* put these in place of what comes */
	uint8_t status, with;
} shown;

static void see(void *arg, void *bytes, size_t size)
{
	ck_assert_ptr_eq(arg, &shown);
	if (shown.answer)
		memset(bytes, size == 1 ? shown.status : shown.with, size);
	memcpy(shown.bytes + shown.size, bytes, size);
	shown.size += size;
}

static uint8_t first_byte(void)
{
	uint8_t byte;

	ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, &byte, 1), 0);
	return byte;
}

static bool was_done(void *arg)
{
	return ((struct shown *)arg)->done;
}

static const struct virtio_block_show shower = {.outside = see, .was_done = was_done};

/* A disk that is shown says of each request whether it was carried out, and what was read; and the guest gets what is put there. */
START_TEST(shown_disks)
{
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	shown = (struct shown){.size = 0};
	virtio_block_show(&b.block, &shower, &shown);
	expect_eq(pwrite(b.file, "abc", 3, 512), 3);
	expect_eq(request(&b, READ, 1, 1024), OK);
	expect_eq(shown.size, 1 + 1024);
	expect(shown.bytes[0] == 0 && !memcmp(shown.bytes + 1, "abc", 3));
	expect_eq(request(&b, WRITE, 0, 512), OK);
	expect_eq(shown.size, 1 + 1024 + 1);
	host.read_error = EIO;
	expect_eq(request(&b, READ, 1, 1024), IOERR);
	expect_eq(shown.size, 1 + 1024 + 2);
	expect_eq(shown.bytes[shown.size - 1], 1);
	shown = (struct shown){.answer = true, .status = 0, .with = 0x77};
	expect_eq(request(&b, READ, 1, 512), OK);
	expect_eq(first_byte(), 0x77);
	host.read_error = 0;
	shown = (struct shown){.answer = true, .status = 1};
	expect_eq(request(&b, READ, 1, 512), IOERR);
	expect_eq(shown.size, 1);
	virtio_block_show(&b.block, NULL, NULL);
	expect_eq(request(&b, READ, 1, 512), OK);
	expect_eq(first_byte(), 'a');
	expect_eq(shown.size, 1);
	bench_end(&b);
}
END_TEST

/* What was written before is not written again, nor written back; what was read is there, and says what it is told. */
START_TEST(done_before)
{
	struct bench b;
	char bytes[4] = "";

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	expect_eq(pwrite(b.file, "abc", 3, 0), 3);
	mem_write(&shared, DRIVER_DATA, "xyz", 3);
	shown = (struct shown){.answer = true, .done = true, .status = 0, .with = 0x55};
	virtio_block_show(&b.block, &shower, &shown);
	expect_eq(request(&b, WRITE, 0, 512), OK);
	host.flush_error = EIO;
	expect_eq(request(&b, FLUSHES, 0, 0), OK);
	host.flush_error = 0;
	shown.status = 1;
	expect_eq(request(&b, WRITE, 0, 512), IOERR);
	expect_eq(pread(b.file, bytes, 3, 0), 3);
	expect(!memcmp(bytes, "abc", 3));
	shown.done = shown.answer = false;
	expect_eq(request(&b, WRITE, 0, 512), OK);
	expect_eq(pread(b.file, bytes, 3, 0), 3);
	expect(memcmp(bytes, "abc", 3) != 0);
	bench_end(&b);
}
END_TEST

/* One without a file does as it is shown. */
START_TEST(absent_disks)
{
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	disk_close(&b.disk);
	disk_make_absent(&b.disk, "gone", DISK_READ_WRITE);
	b.disk.sectors = SECTORS;
	host.fd = -1;
	start(&b, FEATURES);
	shown = (struct shown){.answer = true, .status = 0, .with = 0x55};
	virtio_block_show(&b.block, &shower, &shown);
	expect_eq(request(&b, READ, 1, 512), OK);
	expect_eq(first_byte(), 0x55);
	expect_eq(request(&b, WRITE, 1, 512), OK);
	expect_eq(request(&b, FLUSHES, 0, 0), OK);
	expect_eq(request(&b, READ, SECTORS, 512), OK); /* whoever says so was told so */
	expect_eq(shown.size, 4 + 2 * 512);
	bench_end(&b);
}
END_TEST

/* Where requests begin and end. */
START_TEST(borders)
{
	static const struct {
		uint64_t sector;
		uint32_t size;
		uint8_t status;
	} cases[] = {
		{0, 512, OK}, {SECTORS - 1, 512, OK}, {0, BYTES, OK}, {SECTORS, 512, IOERR}, {SECTORS - 1, 1024, IOERR},
		{1, BYTES, IOERR}, {0, BYTES + 512, IOERR}, {0, 511, IOERR}, {0, 513, IOERR}, {UINT64_MAX, 512, IOERR},
		{UINT64_MAX / 512, 512, IOERR}, {1ull << 55, 512, IOERR}, {0, 0, OK}, {SECTORS, 0, OK}, {SECTORS + 1, 0, IOERR},
	};
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (uint32_t type = READ; type <= WRITE; type++)
			expect_msg(request(&b, type, cases[i].sector, cases[i].size) == cases[i].status, "case %zu, type %u", i,
				   type);
	bench_end(&b);
}
END_TEST

/* Cuts `size` bytes at `gpa` into descriptors from number *i on. */
static void cut(struct random *r, unsigned int *i, uint64_t gpa, uint64_t size, uint16_t flags, unsigned int most)
{
	while (size) {
		uint64_t piece = most == 1 ? size : 1 + random_below(r, size);

		driver_describe(&shared, 0, *i, gpa, (uint32_t)piece, flags | DRIVER_NEXT, (uint16_t)(*i + 1));
		++*i;
		gpa += piece;
		size -= piece;
		most--;
	}
}

START_TEST(random_requests)
{
	struct random r = random_start("virtio_block");
	static uint8_t model[BYTES], data[BYTES], file[BYTES];
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES | FLUSH);
	for (unsigned int round = 0; round < 3000; round++) {
		uint64_t sector = random_below(&r, SECTORS), size = 512 * (1 + random_below(&r, SECTORS - sector));
		bool write = random_below(&r, 2);
		unsigned int i = 0;

		host.short_by = random_below(&r, 3) ? 0 : 1 + (unsigned int)random_below(&r, 700);
		for (uint64_t k = 0; k < size; k++)
			data[k] = (uint8_t)random_next(&r);
		ck_assert_int_eq(mem_write(&shared, DRIVER_DATA, data, size), 0);
		put_header(write, sector);
		cut(&r, &i, HEADER, 16, 0, 3);
		cut(&r, &i, DRIVER_DATA, size, write ? 0 : DRIVER_WRITE, 6);
		driver_describe(&shared, 0, i, STATUS, 1, DRIVER_WRITE, 0);
		driver_offer(&shared, 0, 0);
		driver_set(&b.board, REG_NOTIFY, 0);
		expect_eq(get_status(), OK);
		expect_eq(driver_written(&shared, 0), write ? 1 : size + 1);
		if (write)
			memcpy(model + sector * 512, data, size);
		ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, data, size), 0);
		expect(!memcmp(data, model + sector * 512, size));
	}
	expect_eq(pread(b.file, file, BYTES, 0), BYTES);
	expect(!memcmp(file, model, BYTES));
	expect_eq(host.flushes, 0);
	expect_eq(b.block.stats.errors, 0);
	expect_eq(b.block.stats.reads + b.block.stats.writes, 3000);
	bench_end(&b);
}
END_TEST

START_TEST(no_requests)
{
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	put_header(READ, 0);
	driver_describe(&shared, 0, 0, HEADER, 16, 0, 0); /* nowhere for a status */
	driver_offer(&shared, 0, 0);
	driver_describe(&shared, 0, 1, HEADER, 15, DRIVER_NEXT, 2); /* a header too short */
	driver_describe(&shared, 0, 2, STATUS, 1, DRIVER_WRITE, 0);
	driver_offer(&shared, 0, 1);
	driver_describe(&shared, 0, 3, STATUS, 1, DRIVER_WRITE, 0); /* none */
	driver_offer(&shared, 0, 3);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_eq(driver_index(&shared, DRIVER_USED, 0), 3);
	expect_eq(driver_written(&shared, 0), 0);
	expect_eq(get_status(), UNTOUCHED);
	expect_eq(b.block.stats.errors, 3);
	expect_eq(request(&b, READ, 0, 512), OK);
	bench_end(&b);
}
END_TEST

/* By indirect descriptors more than a request may ask for. */
START_TEST(gigantic)
{
	struct bench b;
	const uint64_t table = DRIVER_DATA - 0x2000;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	put_header(READ, 0);
	for (unsigned int i = 0; i < 128; i++) {
		bool data = i > 0 && i < 127;
		struct {
			uint64_t gpa;
			uint32_t size;
			uint16_t flags, next;
		} d = {i ? data ? 0 : STATUS : HEADER, i ? data ? MEM_MIN_BYTES : 1 : 16,
		       (uint16_t)((i ? DRIVER_WRITE : 0) | (i < 127 ? DRIVER_NEXT : 0)), (uint16_t)(i + 1)};

		ck_assert_int_eq(mem_write(&shared, table + 16 * i, &d, 16), 0);
	}
	driver_describe(&shared, 0, 0, table, 16 * 128, DRIVER_INDIRECT, 0);
	driver_offer(&shared, 0, 0);
	driver_set(&b.board, REG_NOTIFY, 0);
	expect_eq(get_status(), IOERR);
	expect_eq(driver_get(&b.board, REG_STATUS), 15);
	bench_end(&b);
}
END_TEST

/* The data of a read that goes to the rings: whatever comes of it, it comes to an end. */
START_TEST(overlaps)
{
	struct random r = random_start("virtio_block overlaps");
	static uint8_t garbage[BYTES];
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t where[] = {DRIVER_TABLE, DRIVER_AVAILABLE, DRIVER_USED};

		for (unsigned int k = 0; k < BYTES; k++)
			garbage[k] = random_below(&r, 3) ? (uint8_t)random_below(&r, 20) : 0;
		expect_eq(pwrite(b.file, garbage, BYTES, 0), BYTES);
		start(&b, FEATURES | (random_below(&r, 2) ? 1ull << 29 : 0));
		for (unsigned int k = 0; k < 5; k++) {
			put_header(READ, random_below(&r, SECTORS));
			driver_describe(&shared, 0, 0, HEADER, 16, DRIVER_NEXT, 1);
			driver_describe(&shared, 0, 1, where[random_below(&r, 3)], 512, DRIVER_NEXT | DRIVER_WRITE, 2);
			driver_describe(&shared, 0, 2, STATUS, 1, DRIVER_WRITE, 0);
			driver_offer(&shared, 0, 0);
			driver_set(&b.board, REG_NOTIFY, 0);
		}
		expect((driver_get(&b.board, REG_STATUS) & ~0x40u) == 15);
	}
	bench_end(&b);
}
END_TEST

START_TEST(host_fails)
{
	struct capture err;
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES | FLUSH);
	capture_begin(&err);
	host.read_error = EIO;
	expect_eq(request(&b, READ, 0, 512), IOERR);
	expect_eq(request(&b, READ, 0, 512), IOERR);
	host.read_error = 0;
	expect_eq(request(&b, READ, 0, 512), OK);
	host.write_error = ENOSPC;
	expect_eq(request(&b, WRITE, 0, 512), IOERR);
	host.write_error = 0;
	expect_eq(request(&b, WRITE, 0, 512), OK);
	expect_eq(request(&b, FLUSHES, 0, 0), OK);
	/* A host that once lost what it was to write back says so only once; we go on saying it. */
	host.flush_error = EIO;
	expect_eq(request(&b, FLUSHES, 0, 0), IOERR);
	host.flush_error = 0;
	expect_eq(request(&b, FLUSHES, 0, 0), IOERR);
	expect_eq(request(&b, READ, 0, 512), OK);
	capture_end(&err);
	ck_assert_msg(strstr(err.text, "read at byte 0"), "said '%s'", err.text);
	ck_assert_ptr_eq(strchr(err.text, '\n') + 1, strchr(err.text, '\0')); /* one line for all of it */
	bench_end(&b);
}
END_TEST

START_TEST(file_shrinks)
{
	struct capture err;
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES | FLUSH);
	capture_begin(&err);
	ck_assert_int_eq(ftruncate(b.file, 1000), 0);
	expect_eq(request(&b, READ, 0, 512), OK);
	expect_eq(request(&b, READ, 1, 512), IOERR);
	expect_eq(request(&b, READ, 7, 512), IOERR);
	expect_eq(request(&b, WRITE, 7, 512), OK);
	expect_eq(request(&b, READ, 1, 512), OK);
	capture_end(&err);
	bench_end(&b);
}
END_TEST

START_TEST(read_only)
{
	struct bench b;

	bench_init(&b, DISK_READ_ONLY);
	start(&b, FEATURES | FLUSH);
	expect_eq(request(&b, READ, 0, 512), OK);
	expect_eq(request(&b, WRITE, 0, 512), IOERR);
	expect_eq(request(&b, FLUSHES, 0, 0), OK);
	expect_eq(host.flushes, 0);
	bench_end(&b);
}
END_TEST

/* A driver that knows of no cache has each write flushed. */
START_TEST(without_flush)
{
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	start(&b, FEATURES);
	expect_eq(request(&b, WRITE, 0, 512), OK);
	expect_eq(host.flushes, 1);
	expect_eq(request(&b, READ, 0, 512), OK);
	expect_eq(host.flushes, 1);
	bench_end(&b);
}
END_TEST

/* Mapped or read, a guest sees the same; and what it writes is its own. */
START_TEST(remapped)
{
	struct random r = random_start("virtio_block remap");
	static uint8_t content[BYTES], data[BYTES];
	struct bench b;

	for (unsigned int i = 0; i < BYTES; i++)
		content[i] = (uint8_t)random_next(&r);
	bench_init(&b, DISK_READ_ONLY);
	ck_assert_int_eq(pwrite(b.file, content, BYTES, 0), BYTES);
	ck_assert_int_eq(fcntl(b.file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	virtio_block_destroy(&b.block);
	disk_close(&b.disk);
	board_init(&b.board, 0);
	ck_assert_int_eq(disk_open(&b.disk, b.path, DISK_REMAP), 0);
	virtio_block_init(&b.block, &b.board.bus, driver_place(&b.board), &shared, &b.disk, 0, wake, &b);
	start(&b, FEATURES | FLUSH);
	for (unsigned int i = 0; i < 500; i++) {
		bool whole = random_below(&r, 2);
		uint64_t unit = whole ? 8 : 1, sector = unit * random_below(&r, SECTORS / unit);
		uint64_t size = 512 * unit * (1 + random_below(&r, (SECTORS - sector) / unit));
		uint64_t before = b.block.stats.remapped_bytes;

		memset(data, 0xee, BYTES);
		ck_assert_int_eq(mem_write(&shared, DRIVER_DATA, data, BYTES), 0);
		expect_eq(request(&b, READ, sector, (uint32_t)size), OK);
		ck_assert_int_eq(mem_read(&shared, DRIVER_DATA, data, BYTES), 0);
		expect(!memcmp(data, content + sector * 512, size));
		expect(size == BYTES || data[size] == 0xee);
		expect(!whole || b.block.stats.remapped_bytes == before + size);
		expect(sector % 8 == 0 || b.block.stats.remapped_bytes == before);
	}
	expect_eq(pread(b.file, data, BYTES, 0), BYTES);
	expect(!memcmp(data, content, BYTES));
	bench_end(&b);
}
END_TEST

/* What is no disk is refused, and said so. */
START_TEST(refused)
{
	struct capture err;
	struct disk d, second;
	char path[40];
	int fd = new_file(path, sizeof(path));
	static const struct {
		const char *path;
		int error;
		const char *why;
	} cases[] = {
		{"/dev/null", -EINVAL, "regular file or a block device"}, {"/", -EISDIR, "directory"},
		{"/no/such/file", -ENOENT, "No such file"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		capture_begin(&err);
		ck_assert_int_eq(disk_open(&d, cases[i].path, DISK_READ_WRITE), cases[i].error);
		capture_end(&err);
		ck_assert_msg(strstr(err.text, cases[i].why), "said '%s'", err.text);
		}
	capture_begin(&err);
	ck_assert_int_eq(disk_open(&d, path, DISK_REMAP), -EPERM); /* it could change */
	ck_assert_int_eq(disk_open(&d, path, DISK_READ_WRITE), 0);
	ck_assert_int_eq(disk_open(&second, path, DISK_READ_WRITE), -EBUSY);
	ck_assert_int_eq(disk_open(&second, path, DISK_READ_ONLY), -EBUSY);
	disk_close(&d);
	ck_assert_int_eq(disk_open(&d, path, DISK_READ_ONLY), 0);
	ck_assert_int_eq(disk_open(&second, path, DISK_READ_ONLY), 0);
	disk_close(&d);
	disk_close(&second);
	ck_assert_int_eq(ftruncate(fd, 511), 0);
	ck_assert_int_eq(disk_open(&d, path, DISK_READ_ONLY), -EINVAL);
	capture_end(&err);
	close(fd);
}
END_TEST

/* Requests of all kinds at registers that are driven at random, too. */
static uint64_t use(struct board *board, uint64_t dice)
{
	struct random r = {dice};
	struct bench *b = (struct bench *)board;
	uint64_t status = UNTOUCHED;

	if (random_below(&r, 3) == 0) {
		memset(mem_at(&shared, DRIVER_TABLE, 0x100, MEM_WRITE), 0, 0x100);
		start(b, FEATURES | FLUSH);
		status = request(b, (uint32_t)random_below(&r, 9), random_below(&r, SECTORS + 3),
				 512 * (uint32_t)random_below(&r, 4));
	} else {
		driver_set(board, 4 * random_below(&r, 0x40), (uint32_t)random_below(&r, 20));
	}
	return status << 32 | driver_get(board, 4 * random_below(&r, 0x48));
}

/* One file for all of them: what is in it is not part of the device's state. */
static struct disk trial_disk;

static void trial_init(void *bench)
{
	struct bench *b = bench;

	memset(b, 0, sizeof(*b));
	board_init(&b->board, 0);
	virtio_block_init(&b->block, &b->board.bus, driver_place(&b->board), &shared, &trial_disk, 2, wake, b);
}

static void trial_end(struct board *board)
{
	virtio_block_destroy(&((struct bench *)board)->block);
}

START_TEST(trials)
{
	static const struct trial t = {.name = "virtio_block", .size = sizeof(struct bench), .init = trial_init, .use = use,
				       .end = trial_end};
	struct bench b;

	bench_init(&b, DISK_READ_WRITE);
	trial_disk = b.disk;
	trial_run(&t, 30, 40);
	bench_end(&b);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("virtio_block");

	tcase_set_timeout(tcase, 50);
	tcase_add_test(tcase, identity);
	tcase_add_test(tcase, shown_disks);
	tcase_add_test(tcase, done_before);
	tcase_add_test(tcase, absent_disks);
	tcase_add_test(tcase, borders);
	tcase_add_test(tcase, random_requests);
	tcase_add_test(tcase, no_requests);
	tcase_add_test(tcase, gigantic);
	tcase_add_test(tcase, overlaps);
	tcase_add_test(tcase, host_fails);
	tcase_add_test(tcase, file_shrinks);
	tcase_add_test(tcase, read_only);
	tcase_add_test(tcase, without_flush);
	tcase_add_test(tcase, remapped);
	tcase_add_test(tcase, refused);
	tcase_add_test(tcase, trials);
	return run_case("virtio_block", tcase);
}
