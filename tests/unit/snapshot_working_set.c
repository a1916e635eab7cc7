/*
 * The file that says what a guest touches first: what was written is read again; one that is cut off, changed by a bit, of
 * another snapshot, or made to do harm is refused; what stands in the way of writing it is said.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/checksum.h"
#include "snapshot/image_files.h"
#include "snapshot/ram_layout.h"
#include "snapshot/reason.h"
#include "snapshot/working_set.h"
#include "tests/unit/random.h"
#include "tests/unit/snapshot_sample.h"

#define SMALL (8ull << 20)
#define LARGE (5ull << 30) /* two regions */
#define FIRST_RUN 48u	   /* in the file: magic, head of the section, identity, number of runs */

static struct random rnd;
static struct snapshot_id id;
static char *directory;
static int fd;

static void enter(void)
{
	rnd = random_start("snapshot_working_set");
	directory = sample_directory();
	fd = open(directory, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < sizeof(id.byte); i++)
		id.byte[i] = (uint8_t)random_next(&rnd);
}

static void leave(void)
{
	close(fd);
	sample_remove(directory);
}

static uint64_t random_gpa(uint64_t ram)
{
	uint64_t gpa = random_below(&rnd, ram / PAGE_SIZE) * PAGE_SIZE;

	return gpa < ABI_HOLE_START ? gpa : ABI_HOLE_END + (gpa - ABI_HOLE_START);
}

/* A random set, and a byte for each page that says the same. */
static void make_set(struct working_set *w, uint64_t ram, unsigned int runs, uint8_t *has)
{
	ck_assert_int_eq(working_set_init(w, ram), 0);
	for (; runs; runs--) {
		uint64_t gpa = random_gpa(ram), pages = 1 + random_below(&rnd, 40);

		while (!ram_holds(ram, gpa, pages * PAGE_SIZE))
			pages--;
		working_set_add(w, gpa, pages);
		memset(has + gpa / PAGE_SIZE, 1, pages);
	}
}

static bool are(const uint8_t *has, uint64_t from, uint64_t to, uint8_t value)
{
	while (from < to && has[from] == value)
		from++;
	return from >= to;
}

static void assert_set(const struct working_set *w, const uint8_t *has)
{
	uint64_t page = 0, gpa = 0, pages = 0, count = 0;

	while (working_set_next(w, gpa + pages * PAGE_SIZE, &gpa, &pages)) {
		ck_assert(ram_holds(w->ram, gpa, pages * PAGE_SIZE));
		ck_assert(are(has, page, gpa / PAGE_SIZE, 0));
		page = gpa / PAGE_SIZE + pages;
		ck_assert(are(has, gpa / PAGE_SIZE, page, 1));
		count += pages;
	}
	ck_assert(are(has, page, ram_end(w->ram) / PAGE_SIZE, 0));
	ck_assert_uint_eq(count, w->pages);
}

static void write_set(struct working_set *w)
{
	struct reason why = {0};

	ck_assert_msg(working_set_write(w, fd, "snap", &id, &why) == 0, "%s", why.text);
}

static int read_set(struct working_set *w, uint64_t ram, struct reason *why)
{
	ck_assert_int_eq(working_set_init(w, ram), 0);
	*why = (struct reason){0};
	return working_set_read(w, fd, "snap", &id, why);
}

START_TEST(round_trip)
{
	static const uint64_t sizes[] = {SMALL, LARGE, 3ull << 30, 1ull << 20};

	for (unsigned int i = 0; i < 40; i++) {
		uint64_t ram = sizes[i % 4];
		uint8_t *has = calloc(1, ram_end(ram) / PAGE_SIZE);
		struct working_set w, again;
		struct reason why;

		make_set(&w, ram, (unsigned int)random_below(&rnd, 60), has);
		assert_set(&w, has);
		write_set(&w);
		ck_assert_msg(read_set(&again, ram, &why) == 0, "%s", why.text);
		assert_set(&again, has);
		working_set_free(&w);
		working_set_free(&again);
		free(has);
	}
	ck_assert(faccessat(fd, WORKING_SET_PARTIAL, F_OK, 0) && errno == ENOENT);
}
END_TEST

static size_t read_file(uint8_t *bytes, size_t room)
{
	int file = openat(fd, WORKING_SET_FILE, O_RDONLY);
	ssize_t n = read(file, bytes, room);

	ck_assert_int_gt(n, 0);
	close(file);
	return (size_t)n;
}

static void write_file(const uint8_t *bytes, size_t size)
{
	int file = openat(fd, WORKING_SET_FILE, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_eq(write(file, bytes, size), (ssize_t)size);
	ck_assert_int_eq(ftruncate(file, (off_t)size), 0);
	close(file);
}

/* With a checksum that is right. */
static void write_mended(uint8_t *bytes, size_t size)
{
	uint64_t sum = checksum64(bytes, size - sizeof(sum));

	memcpy(bytes + size - sizeof(sum), &sum, sizeof(sum));
	write_file(bytes, size);
}

static void assert_refused(const char *part, const char *what, size_t at)
{
	struct working_set w;
	struct reason why;
	int err = read_set(&w, SMALL, &why);

	ck_assert_msg(err < 0 && strstr(why.text, "snap/working-set: ") && strstr(why.text, part), "%s at %zu: %d, '%s'", what, at, err,
		      why.text);
	ck_assert_uint_eq(w.pages, 0);
	ck_assert(!working_set_next(&w, 0, &(uint64_t){0}, &(uint64_t){0}));
	working_set_free(&w);
}

/* Every length, every bit. */
START_TEST(damaged)
{
	uint8_t bytes[4096], *has = calloc(1, SMALL / PAGE_SIZE);
	struct working_set w;
	size_t size;

	make_set(&w, SMALL, 30, has);
	write_set(&w);
	size = read_file(bytes, sizeof(bytes));
	for (size_t n = 0; n < size; n++) {
		write_file(bytes, n);
		assert_refused("", "a cut", n);
	}
	for (size_t bit = 0; bit < 8 * size; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		write_file(bytes, size);
		assert_refused("checksum", "a bit", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	id.byte[3]++;
	write_file(bytes, size);
	assert_refused("another snapshot", "identity", 0);
	working_set_free(&w);
	free(has);
}
END_TEST

/* Right checksums around something that nobody has written. */
START_TEST(hostile)
{
	static const struct {
		uint64_t at, value; /* in the file, which has the runs [0x3000, 0x5000) and [0x9000, 0xa000) */
	} bad[] = {
		{FIRST_RUN, 0x3001}, {FIRST_RUN, SMALL}, {FIRST_RUN, UINT64_MAX - 0xfff}, {FIRST_RUN, 0x9000}, {FIRST_RUN, 0x8000},
		{FIRST_RUN + 8, 0}, {FIRST_RUN + 8, UINT64_MAX}, {FIRST_RUN + 8, 1ull << 52}, {FIRST_RUN + 8, SMALL / PAGE_SIZE},
		{FIRST_RUN + 8, 7}, {FIRST_RUN + 16, 0x4000}, {FIRST_RUN + 16, 0}, {FIRST_RUN - 8, 1}, {FIRST_RUN - 8, 3},
		{FIRST_RUN - 8, UINT64_MAX}, {0, 0}, {8, 0}, {16, UINT64_MAX}, {16, 2 | 56ull << 32}, {16, 1}, {16, 1 | 55ull << 32},
	};
	uint8_t bytes[4096], was[8];
	struct working_set w;
	size_t size;

	ck_assert_int_eq(working_set_init(&w, SMALL), 0);
	working_set_add(&w, 0x3000, 2);
	working_set_add(&w, 0x9000, 1);
	write_set(&w);
	working_set_free(&w);
	size = read_file(bytes, sizeof(bytes));
	ck_assert_uint_eq(size, FIRST_RUN + 2 * 16 + 8);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		memcpy(was, bytes + bad[i].at, 8);
		memcpy(bytes + bad[i].at, &bad[i].value, 8);
		write_mended(bytes, size);
		assert_refused("", "case", i);
		memcpy(bytes + bad[i].at, was, 8);
	}
}
END_TEST

/* The same at random. What is taken all the same is pages of RAM. */
START_TEST(random_hostile)
{
	uint8_t bytes[4096] = {0}, changed[4096], *has = calloc(1, SMALL / PAGE_SIZE);
	unsigned int taken = 0;
	struct working_set w;
	size_t size;

	make_set(&w, SMALL, 8, has);
	write_set(&w);
	working_set_free(&w);
	size = read_file(bytes, sizeof(bytes));
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t gpa = 0, pages = 0, count = 0;
		struct reason why;

		memcpy(changed, bytes, sizeof(changed));
		for (unsigned int n = 1 + (unsigned int)random_below(&rnd, 4); n; n--)
			changed[FIRST_RUN - 8 + random_below(&rnd, size - FIRST_RUN)] ^= (uint8_t)(1u << random_below(&rnd, 8));
		write_mended(changed, random_below(&rnd, 8) ? size : 8 + random_below(&rnd, size + 40));
		taken += read_set(&w, SMALL, &why) == 0;
		while (working_set_next(&w, gpa + pages * PAGE_SIZE, &gpa, &pages)) {
			ck_assert(ram_holds(SMALL, gpa, pages * PAGE_SIZE));
			count += pages;
		}
		ck_assert_uint_eq(count, w.pages);
		working_set_free(&w);
	}
	printf("snapshot_working_set: %u taken\n", taken);
	free(has);
}
END_TEST

/* What lies under the name, and is no file of ours. */
START_TEST(no_file)
{
	struct working_set w;
	struct reason why;

	ck_assert_int_eq(read_set(&w, SMALL, &why), -ENOENT);
	ck_assert_str_eq(why.text, "");
	working_set_free(&w);
	ck_assert_int_eq(mkdirat(fd, WORKING_SET_FILE, 0700), 0);
	assert_refused("not a working set", "a directory", 0);
	ck_assert_int_eq(unlinkat(fd, WORKING_SET_FILE, AT_REMOVEDIR), 0);
	ck_assert_int_eq(symlinkat("/dev/zero", fd, WORKING_SET_FILE), 0);
	assert_refused("", "a link", 0);
	ck_assert_int_eq(unlinkat(fd, WORKING_SET_FILE, 0), 0);
	ck_assert_int_eq(mkfifoat(fd, WORKING_SET_FILE, 0600), 0);
	assert_refused("not a working set", "a pipe", 0);
}
END_TEST

static uint64_t pages_there(void)
{
	struct working_set w;
	struct reason why;
	uint64_t pages;

	ck_assert_msg(read_set(&w, SMALL, &why) == 0, "%s", why.text);
	pages = w.pages;
	working_set_free(&w);
	return pages;
}

START_TEST(written_by_several)
{
	struct reason why = {0};
	struct working_set w;
	int other;

	ck_assert_int_eq(working_set_init(&w, SMALL), 0);
	working_set_add(&w, 0, 1);
	write_set(&w);
	other = openat(fd, WORKING_SET_PARTIAL, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(ftruncate(other, 5000), 0);
	ck_assert_int_eq(flock(other, LOCK_EX), 0);
	working_set_add(&w, 0x8000, 1);
	write_set(&w);
	ck_assert_uint_eq(pages_there(), 1); /* somebody else is at it */
	close(other);
	write_set(&w);
	ck_assert_uint_eq(pages_there(), 2); /* he was killed */
	ck_assert_int_eq(mkdirat(fd, WORKING_SET_PARTIAL, 0700), 0);
	working_set_add(&w, 0x10000, 1);
	ck_assert_int_lt(working_set_write(&w, fd, "snap", &id, &why), 0);
	ck_assert_msg(strstr(why.text, "snap/working-set: "), "%s", why.text);
	ck_assert_uint_eq(pages_there(), 2);
	working_set_free(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_working_set");
	TCase *tcase = tcase_create("snapshot_working_set");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, enter, leave);
	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, round_trip);
	tcase_add_test(tcase, damaged);
	tcase_add_test(tcase, hostile);
	tcase_add_test(tcase, random_hostile);
	tcase_add_test(tcase, no_file);
	tcase_add_test(tcase, written_by_several);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
