/*
 * A snapshot on disk: what was written is read again, and whatever is not as it was written is found: every bit and every
 * length of a state file, random ones of the larger files (10,000 and more in the suite `long`). What cannot be written leaves
 * nothing behind.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/image_reader.h"
#include "snapshot/image_writer.h"
#include "snapshot/reason.h"
#include "snapshot/state_file.h"
#include "tests/unit/random.h"
#include "tests/unit/snapshot_mend.h"
#include "tests/unit/snapshot_sample.h"
#include "tests/vm/effort.h"
#include "vmm/mem.h"

/* A sample that was written to "snap" in a directory of its own. Most tests run with both forms, plain and compressed. */
struct written {
	struct random random;
	struct capture capture;
	char *directory, path[80];
};

static void write_sample(struct written *w, bool compressed)
{
	struct image_written done;
	struct reason why = {0};

	w->random = random_start("snapshot_file");
	sample_make(&w->capture, &w->random);
	w->capture.sn.compressed = compressed;
	w->directory = sample_directory();
	snprintf(w->path, sizeof(w->path), "%s/snap", w->directory);
	ck_assert_msg(image_write(&w->capture, w->path, &done, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(done.pages, page_map_count(&w->capture.sn.pages, false));
	ck_assert_uint_eq(done.pages + done.zero_pages, w->capture.ram.used / PAGE_SIZE);
}

static void drop_sample(struct written *w)
{
	capture_free(&w->capture);
	sample_remove(w->directory);
}

struct flat_sink {
	struct image_sink sink;
	uint8_t *ram;
};

static uint8_t *place(struct image_sink *sink, uint64_t gpa, uint64_t size)
{
	return ((struct flat_sink *)sink)->ram + gpa;
}

/* All that is in it, or why it is refused. */
static int read_snapshot(const struct written *w, struct image_reader *r, struct reason *why)
{
	struct flat_sink to = {.sink.place = place, .ram = calloc(1, SAMPLE_RAM)};
	int err = image_reader_open(r, w->path, why);

	if (err == 0)
		err = image_reader_load(r, &to.sink, why);
	for (size_t i = 0; i < w->capture.ram.ranges && err == 0; i++) {
		const struct ram_range *run = &w->capture.ram.range[i];

		ck_assert(!memcmp(to.ram + run->gpa, w->capture.ram.bytes + run->at, run->size));
		memset(to.ram + run->gpa, 0, run->size);
	}
	ck_assert(err < 0 || (!to.ram[0] && !memcmp(to.ram, to.ram + 1, SAMPLE_RAM - 1)));
	free(to.ram);
	return err;
}

static void assert_refused(const struct written *w, const char *what, uint64_t at)
{
	struct reason why = {0};
	struct image_reader r;
	int err = image_reader_open(&r, w->path, &why);

	if (err == 0) {
		err = image_reader_check(&r, &why);
		image_reader_close(&r);
	}
	ck_assert_msg(err < 0 && *why.text, "%s at %llu is not found", what, (unsigned long long)at);
	ck_assert_ptr_null(strchr(why.text, '\n'));
}

START_TEST(round_trip)
{
	struct reason why = {0};
	struct image_reader r;
	struct written w;
	struct stat st;
	char name[100];

	write_sample(&w, _i);
	ck_assert_msg(read_snapshot(&w, &r, &why) == 0, "%s", why.text);
	ck_assert(sample_same(&r.sn, &w.capture.sn));
	image_reader_close(&r);
	snprintf(name, sizeof(name), "%s/memory", w.path);
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_uint_eq((uint64_t)st.st_size, _i ? w.capture.sn.blocks.bytes : SAMPLE_RAM);
	ck_assert_uint_le((uint64_t)st.st_blocks * 512, w.capture.ram.used * (_i ? 2 : 3) / 3 + 65536); /* the rest is holes */
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	drop_sample(&w);
}
END_TEST

static int open_file(const struct written *w, enum image_file file, uint64_t *size)
{
	char name[100];
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "%s/%s", w->path, image_file_names[file]);
	fd = open(name, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*size = (uint64_t)st.st_size;
	return fd;
}

static void flip(int fd, uint64_t bit)
{
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
	byte ^= (uint8_t)(1u << bit % 8);
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
}

static void check_flips(struct written *w, enum image_file file, unsigned int count)
{
	uint64_t size;
	int fd = open_file(w, file, &size);

	for (unsigned int i = 0; i < count; i++) {
		uint64_t bit = random_below(&w->random, 8 * size);

		flip(fd, bit);
		assert_refused(w, image_file_names[file], bit);
		flip(fd, bit);
	}
	close(fd);
}

START_TEST(flips)
{
	struct reason why = {0};
	struct image_reader r;
	struct written w;

	write_sample(&w, _i);
	check_flips(&w, FILE_STATE, effort(300, 300));
	check_flips(&w, FILE_MEMORY, effort(500, 500));
	check_flips(&w, FILE_IMAGE, effort(300, 300));
	ck_assert_msg(read_snapshot(&w, &r, &why) == 0, "%s", why.text);
	image_reader_close(&r);
	drop_sample(&w);
}
END_TEST

/* Cuts the file off, and puts back what was cut. */
static void check_cut(struct written *w, enum image_file file, int fd, uint64_t size, uint64_t length)
{
	uint8_t *rest = malloc(size - length);

	ck_assert_int_eq(pread(fd, rest, size - length, (off_t)length), (ssize_t)(size - length));
	ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
	assert_refused(w, image_file_names[file], length);
	ck_assert_int_eq(pwrite(fd, rest, size - length, (off_t)length), (ssize_t)(size - length));
	free(rest);
}

/* Cuts, lengthens by a zero byte, and removes. */
static void check_lengths(struct written *w, enum image_file file, unsigned int cuts)
{
	char name[100], kept[100];
	uint64_t size;
	int fd = open_file(w, file, &size);

	snprintf(name, sizeof(name), "%s/%s", w->path, image_file_names[file]);
	snprintf(kept, sizeof(kept), "%s/kept", w->directory);
	ck_assert_int_eq(ftruncate(fd, (off_t)size + 1), 0);
	assert_refused(w, "a byte too many", size);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	ck_assert_int_eq(rename(name, kept), 0);
	assert_refused(w, "no file", 0);
	ck_assert_int_eq(rename(kept, name), 0);
	for (unsigned int i = 0; i < cuts; i++)
		check_cut(w, file, fd, size, random_below(&w->random, size));
	close(fd);
}

START_TEST(lengths)
{
	struct reason why = {0};
	struct image_reader r;
	struct written w;

	write_sample(&w, _i);
	check_lengths(&w, FILE_STATE, effort(100, 100));
	check_lengths(&w, FILE_MEMORY, effort(100, 100));
	check_lengths(&w, FILE_IMAGE, effort(100, 100));
	ck_assert_msg(read_snapshot(&w, &r, &why) == 0, "%s", why.text);
	image_reader_close(&r);
	drop_sample(&w);
}
END_TEST

/* In memory every bit and every length can be tried. */
START_TEST(state_flips)
{
	struct snapshot sn;
	struct written w;
	uint8_t *bytes;
	size_t size;

	write_sample(&w, _i);
	ck_assert_int_eq(state_file_make(&w.capture.sn, &bytes, &size, &(struct reason){0}), 0);
	for (size_t bit = 0; bit < 8 * size; bit++) {
		struct reason why = {0};

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (state_file_parse(&sn, bytes, size, &why) == 0 || !*why.text)
			ck_abort_msg("bit %zu is not found", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert_int_eq(state_file_parse(&sn, bytes, size, &(struct reason){0}), 0);
	snapshot_free(&sn);
	free(bytes);
	drop_sample(&w);
}
END_TEST

START_TEST(state_cut_off)
{
	struct snapshot sn;
	struct written w;
	uint8_t *bytes;
	size_t size;

	write_sample(&w, _i);
	ck_assert_int_eq(state_file_make(&w.capture.sn, &bytes, &size, &(struct reason){0}), 0);
	for (size_t length = 0; length < size; length++) {
		uint8_t *copy = malloc(length + 1); /* of its own, so that a read behind it is found */
		struct reason why = {0};

		memcpy(copy, bytes, length);
		if (state_file_parse(&sn, copy, length, &why) == 0)
			ck_abort_msg("%zu bytes are taken", length);
		mend(copy, length);
		if (state_file_parse(&sn, copy, length, &why) == 0)
			ck_abort_msg("%zu bytes are taken", length);
		free(copy);
	}
	free(bytes);
	drop_sample(&w);
}
END_TEST

/* Right checksums, but something in it that this program does not know or does not take. */
static void assert_state_refused(const struct written *w, void (*spoil)(uint8_t *bytes, size_t size), const char *part)
{
	struct snapshot sn = w->capture.sn, read;
	struct reason why = {0};
	uint8_t *bytes;
	size_t size;

	ck_assert_int_eq(state_file_make(&sn, &bytes, &size, &why), 0);
	spoil(bytes, size);
	mend(bytes, size);
	ck_assert_int_lt(state_file_parse(&read, bytes, size, &why), 0);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
	free(bytes);
}

static void later_version(uint8_t *bytes, size_t size)
{
	bytes[8] = 2;
}

static void unknown_flag(uint8_t *bytes, size_t size)
{
	bytes[15] = 0x80;
}

static void other_magic(uint8_t *bytes, size_t size)
{
	bytes[1] = 'Q';
}

static void unknown_chunk(uint8_t *bytes, size_t size)
{
	memcpy(bytes + MEND_HEADER, "novelty", 8);
}

static void chunk_twice(uint8_t *bytes, size_t size)
{
	memcpy(bytes + mend_next(bytes, size, MEND_HEADER), "machine", 8);
}

static void says_incremental(uint8_t *bytes, size_t size)
{
	bytes[12] = 1;
}

static void says_compressed(uint8_t *bytes, size_t size)
{
	bytes[12] = 2;
}

static void later_section(uint8_t *bytes, size_t size)
{
	bytes[MEND_HEADER + 16 + 8] = 9;
}

START_TEST(refusals)
{
	struct written w;

	write_sample(&w, _i);
	assert_state_refused(&w, later_version, "version 2");
	assert_state_refused(&w, unknown_flag, "does not know");
	assert_state_refused(&w, other_magic, "not a snapshot");
	assert_state_refused(&w, unknown_chunk, "novelty");
	assert_state_refused(&w, chunk_twice, "machine");
	assert_state_refused(&w, says_incremental, "parent");
	assert_state_refused(&w, says_compressed, "blocks");
	assert_state_refused(&w, later_section, "unknown version");
	drop_sample(&w);
}
END_TEST

static unsigned int count_entries(const char *directory)
{
	DIR *d = opendir(directory);
	unsigned int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void assert_not_written(struct written *w, const char *path, const char *part)
{
	unsigned int before = count_entries(w->directory);
	struct image_written done;
	struct reason why = {0};

	page_map_free(&w->capture.sn.pages);
	block_map_free(&w->capture.sn.blocks);
	ck_assert_int_lt(image_write(&w->capture, path, &done, &why), 0);
	ck_assert_msg(strstr(why.text, part), "'%s' is not in '%s'", part, why.text);
	ck_assert_uint_eq(count_entries(w->directory), before);
}

START_TEST(not_written)
{
	struct written w;
	struct rlimit limit;
	char path[100];
	rlim_t sizes[] = {0, 1000, 100000, SAMPLE_RAM - 1};

	write_sample(&w, _i);
	sizes[3] = _i ? w.capture.sn.blocks.bytes - 1 : sizes[3];
	assert_not_written(&w, w.path, "already");
	snprintf(path, sizeof(path), "%s/absent/snap", w.directory);
	assert_not_written(&w, path, "No such file");
	snprintf(path, sizeof(path), "%s/other", w.directory);
	ck_assert_int_eq(symlink("/nowhere", path), 0);
	assert_not_written(&w, path, "already");
	ck_assert_int_eq(unlink(path), 0);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
		limit.rlim_cur = sizes[i];
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_not_written(&w, path, "File too large");
		limit.rlim_cur = limit.rlim_max;
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	}
	drop_sample(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_file");
	TCase *tcase = tcase_create("snapshot_file");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, round_trip, 0, 2);
	tcase_add_loop_test(tcase, flips, 0, 2);
	tcase_add_loop_test(tcase, state_flips, 0, 2);
	tcase_add_loop_test(tcase, lengths, 0, 2);
	tcase_add_loop_test(tcase, state_cut_off, 0, 2);
	tcase_add_test(tcase, refusals);
	tcase_add_loop_test(tcase, not_written, 0, 2);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
